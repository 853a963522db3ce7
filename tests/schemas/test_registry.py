"""Registries refuse a repeated name and list what they know."""

import pytest

from schemas.errors import UnknownNameError
from schemas.registry import Registry


@pytest.fixture
def animals() -> Registry[str]:
    registry: Registry[str] = Registry("animal")
    registry.register("sheep")("meh")
    registry.register("wolf")("auuu")
    return registry


def test_a_registered_name_finds_its_implementation(animals: Registry[str]) -> None:
    assert animals["sheep"] == "meh"


def test_a_repeated_name_raises_and_keeps_the_first(animals: Registry[str]) -> None:
    with pytest.raises(ValueError, match="animal 'wolf' is registered twice"):
        animals.register("wolf")("woof")
    assert animals["wolf"] == "auuu"


def test_an_unknown_name_lists_the_known_and_suggests_the_nearest(animals: Registry[str]) -> None:
    with pytest.raises(UnknownNameError) as caught:
        _ = animals["shep"]
    assert caught.value.found == "unknown animal 'shep'"
    assert caught.value.expected == "one of sheep, wolf"
    assert caught.value.advice == "did you mean 'sheep'?"


def test_a_name_like_no_other_gets_no_suggestion(animals: Registry[str]) -> None:
    with pytest.raises(UnknownNameError) as caught:
        _ = animals["xyz"]
    assert caught.value.advice == ""


def test_the_decorator_returns_what_it_decorates() -> None:
    registry: Registry[object] = Registry("thing")
    thing = object()
    assert registry.register("thing")(thing) is thing
