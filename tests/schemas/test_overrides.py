"""`--set key=value` on top of a recipe's text."""

from typing import Any

import pytest

from schemas.errors import RecipeError


def override(read: Any, text: str, *overrides: str) -> Any:
    return read(text, overrides)


def refusal(read: Any, text: str, *overrides: str) -> RecipeError:
    with pytest.raises(RecipeError) as caught:
        read(text, overrides)
    return caught.value


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("seed=8", ("seed",), 8),
        (" seed = 8 ", ("seed",), 8),
        ("samples_per_class=1e4", ("samples_per_class",), 10_000),
        ("instrument.num_pix=32", ("instrument", "num_pix"), 32),
        ("instrument.psf.truncate=3", ("instrument", "psf", "truncate"), 3.0),
        ("redshifts.z_source.high=3", ("redshifts", "z_source", "high"), 3.0),
        ("source.R_sersic=0.3", ("source", "R_sersic", "value"), 0.3),
        ("source.R_sersic={kind: uniform, low: 0.1, high: 0.2}", ("source", "R_sersic", "high"), 0.2),
        ("shear.gamma1=0.05", ("shear", "gamma1", "value"), 0.05),
        ("description=a=b", ("description",), "a=b"),
    ],
)
def test_an_override_sets_one_key(
    read: Any, small_text: str, text: str, path: tuple[str, ...], value: Any
) -> None:
    found: Any = override(read, small_text, text)
    for name in path:
        found = getattr(found, name)
    assert found == value


def test_an_override_without_a_value_is_null(read: Any, small_text: str) -> None:
    message = str(refusal(read, small_text, "description="))
    assert "- description: input should be a valid string (found None)" in message
    assert "magnitude" not in message
    assert "source" in str(refusal(read, small_text, "source.magnitude="))


@pytest.mark.parametrize("item", ["cdm", "1"])
def test_an_override_finds_a_class_by_name_or_position(read: Any, small_text: str, item: str) -> None:
    recipe = override(read, small_text, f"classes.{item}.substructure.count=9")
    assert recipe.classes[1].substructure.count == 9


def test_later_overrides_win_and_leave_the_rest_alone(read: Any, small_text: str) -> None:
    recipe = override(read, small_text, "seed=8", "seed=9")
    assert recipe.seed == 9
    assert recipe.model_copy(update={"seed": 7}) == read(small_text)


def test_an_override_below_a_single_value_says_how_to_replace_it(read: Any, small_text: str) -> None:
    error = refusal(read, small_text, "source.magnitude.low=19")
    assert "source.magnitude is a single value, so 'low' cannot be set below it" in error.found
    assert "--set 'source.magnitude={kind: ..., low: ...}'" in error.advice


def test_an_unknown_class_lists_the_known_ones(read: Any, small_text: str) -> None:
    error = refusal(read, small_text, "classes.wdm.label=3")
    assert error.expected == "one of no_sub, cdm"


@pytest.mark.parametrize("text", ["seed", "=3", "", " =3"])
def test_an_override_that_is_no_key_and_value_is_refused(read: Any, small_text: str, text: str) -> None:
    assert "is not of the form key=value" in refusal(read, small_text, text).found


def test_broken_yaml_in_an_override_names_the_override(read: Any, small_text: str) -> None:
    error = refusal(read, small_text, "source.magnitude=[1")
    assert "--set source.magnitude=[1" in error.where


def test_a_wrong_value_names_the_override_and_not_the_line_it_replaced(read: Any, small_text: str) -> None:
    message = str(refusal(read, small_text, "source.magnitude=100"))
    assert "- source.magnitude: 100 mag, but must be >= 5, <= 40" in message
    assert "at --set source.magnitude=100" in message
    assert "recipe.yaml, line" not in message


def test_a_fault_below_a_replaced_value_names_the_override(read: Any, small_text: str) -> None:
    message = str(refusal(read, small_text, "source.R_sersic={kind: uniform, low: 0.1, hihg: 0.2}"))
    assert "source.R_sersic.hihg: unknown key; did you mean 'high'?" in message
    assert "at --set source.R_sersic=" in message
    assert "recipe.yaml, line" not in message


def test_a_misspelt_override_is_refused(read: Any, small_text: str) -> None:
    assert "sourse: unknown key; did you mean 'source'?" in str(
        refusal(read, small_text, "sourse.magnitude=3")
    )


@pytest.mark.parametrize(
    "text", ["seed=!!python/object/apply:os.getpid []", "seed=.nan", "seed=.inf", "seed=*x"]
)
def test_overrides_are_as_safe_as_the_text(read: Any, small_text: str, text: str) -> None:
    assert "--set seed=" in refusal(read, small_text, text).where


@pytest.mark.parametrize("key", ["classes.wdm.label=3", "classes.\N{SUPERSCRIPT TWO}.label=3"])
def test_a_class_whose_name_is_a_number_can_still_be_missed(read: Any, small_text: str, key: str) -> None:
    try:
        read(small_text.replace("name: cdm", "name: 5"), [key])
    except RecipeError:
        return
