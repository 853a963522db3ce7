"""The error tree: every class travels by pickle and can be caught as a built-in."""

import pickle

import pytest

from schemas import errors
from schemas.errors import LensmillError, first_line

CLASSES = [one for name in errors.__all__ if not issubclass(one := getattr(errors, name), Warning)]
FIELDS = ("found", "expected", "where", "advice")


@pytest.mark.parametrize("error_class", CLASSES)
def test_pickling_keeps_type_message_and_all_four_fields(error_class: type[LensmillError]) -> None:
    error = error_class("found it", "expected that", "over there", "do this")
    again = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert type(again) is error_class
    assert [getattr(again, name) for name in FIELDS] == [
        "found it",
        "expected that",
        "over there",
        "do this",
    ]
    assert str(again) == str(error)


@pytest.mark.parametrize("error_class", CLASSES)
def test_message_answers_what_was_found_expected_where_and_what_to_do(
    error_class: type[LensmillError],
) -> None:
    text = str(error_class("a wolf", "a sheep", "in the fold", "call the shepherd"))
    assert text.splitlines() == [
        "a wolf",
        "  expected: a sheep",
        "  where:    in the fold",
        "  to do:    call the shepherd",
    ]


@pytest.mark.parametrize("error_class", CLASSES)
def test_only_what_was_found_is_required(error_class: type[LensmillError]) -> None:
    assert str(error_class("a wolf")) == "a wolf"


@pytest.mark.parametrize("error_class", [one for one in CLASSES if one is not LensmillError])
def test_each_error_is_also_a_builtin_that_says_more_than_exception(
    error_class: type[LensmillError],
) -> None:
    builtin = {base for base in error_class.__mro__ if base.__module__ == "builtins"}
    assert builtin - {Exception, BaseException, object}


def test_all_names_every_class_of_the_module() -> None:
    defined = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and value.__module__ == errors.__name__
    }
    assert set(errors.__all__) == defined


def test_the_docstring_draws_the_whole_tree() -> None:
    assert errors.__doc__ is not None
    assert [name for name in errors.__all__ if name not in errors.__doc__] == []


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (TimeoutError(""), "TimeoutError"),
        (ValueError("\n a\nb"), "a"),
        (LensmillError("found", advice="do"), "found"),
    ],
)
def test_every_error_has_a_first_line(error: Exception, line: str) -> None:
    assert first_line(error) == line
