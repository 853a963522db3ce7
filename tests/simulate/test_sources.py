"""Sources that are lensed, seen without the lens, or not there."""

from typing import Any

import numpy as np
import pytest
from scipy import stats

from flows.catalogue import load_recipe
from schemas.columns import column_faults, columns_of
from schemas.dataset import DatasetRecipe
from schemas.errors import RecipeError
from simulate.draw import draw
from simulate.engines import ENGINES
from simulate.render import noise_free, render

LIGHT = (
    "lens_light={magnitude: 19, R_sersic: 0.4, n_sersic: 3, center: {kind: around_lens, radius_theta_E: 0}}"
)
MOVED = "main_lens.center_x={kind: uniform, low: -0.2, high: 0.2}"
IDS = np.arange(3000)


def recipe(source: Any, *overrides: str) -> DatasetRecipe:
    """`tiny` with a source of its second class in some state."""
    return load_recipe("tiny", ["noise={kind: none}", f"classes.cdm.source={source}", *overrides])


def test_shares_come_as_often_as_they_say_in_their_class_alone() -> None:
    drawn = draw(recipe("{absent: 0.2, unlensed: 0.5, lensed: 0.3}"), IDS)
    state, position = drawn.columns["source_state"], IDS % 3
    counts = np.bincount(state[position == 1].astype(int), minlength=3)
    assert stats.chisquare(counts, np.array([0.2, 0.5, 0.3]) * counts.sum()).pvalue > 1e-3
    assert (state[position != 1] == 2).all()


def test_a_recipe_of_lensed_sources_has_no_column_and_the_same_digest() -> None:
    plain, said = load_recipe("tiny"), load_recipe("tiny", ["classes.cdm.source=lensed"])
    assert "source_state" not in {column.name for column in columns_of(said)}
    assert said == plain
    assert said.digest == plain.digest
    assert "absent" not in plain.to_json()
    assert said.digest != recipe("absent", "noise={kind: detector}").digest


def test_the_column_betrays_the_class_and_says_so() -> None:
    one = recipe("{absent: 1/2, unlensed: 1/2}")
    (column,) = (column for column in columns_of(one) if column.name == "source_state")
    assert column.derived
    assert column.labels == (0, 1, 2)
    rendered = render(one, np.arange(30))
    assert column_faults(columns_of(one), rendered.params, rendered.label) == []


def test_other_parameters_are_what_they_would_have_been() -> None:
    before, after = (draw(recipe(state), IDS[:60]).columns for state in ("lensed", "absent"))
    for name in ("theta_E", "source_magnitude", "source_center_x", "gamma1"):
        np.testing.assert_array_equal(before[name], after[name])


@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_seen(engine: str) -> None:
    """Without a source the lens light alone; unlensed as with lenses of no mass; lensed as always."""
    cdm = np.array([1, 4, 7])
    images = {}
    for state in ("lensed", "unlensed", "absent"):
        one = recipe(state, LIGHT, f"engine={engine}")
        images[state] = noise_free(one, draw(one, cdm))
    one = recipe("lensed", LIGHT, f"engine={engine}")
    drawn = draw(one, cdm)
    peak = images["lensed"].max()
    alone = drawn.systems.__class__(3, drawn.systems.deflectors, (), drawn.systems.lens_light)
    np.testing.assert_allclose(images["absent"], ENGINES[engine](alone, one.detector), atol=1e-12 * peak)
    still = drawn.systems.__class__(3, (), drawn.systems.source, drawn.systems.lens_light)
    np.testing.assert_allclose(images["unlensed"], ENGINES[engine](still, one.detector), atol=1e-12 * peak)
    np.testing.assert_array_equal(images["lensed"], noise_free(one, drawn))
    for image in (images["absent"], images["unlensed"]):
        assert (np.abs(image - images["lensed"]).max(axis=(1, 2)) > 0.01 * peak).all()


def test_a_batch_without_any_source_is_dark() -> None:
    one = recipe("absent")
    np.testing.assert_array_equal(noise_free(one, draw(one, np.array([1, 4]))), 0.0)


def test_light_around_the_lens_with_no_radius_is_at_its_centre() -> None:
    drawn = draw(recipe("absent", LIGHT, MOVED), IDS[:60])
    np.testing.assert_array_equal(drawn.columns["lens_light_center_x"], drawn.columns["center_x"])


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("{absent: 0.5}", "sum to 0.5"),
        ("hidden", "absent, unlensed, lensed"),
        ("{absent: 0.5, hidden: 0.5}", "hidden"),
    ],
)
def test_what_is_refused_says_why(said: str, words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        recipe(said)


def test_substructure_of_what_is_not_lensed_is_not_measured() -> None:
    with pytest.raises(RecipeError, match="not always lensed"):
        load_recipe("tiny", ["classes.cdm.source=unlensed", "detectability=[test]"])
