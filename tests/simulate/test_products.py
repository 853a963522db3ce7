"""What is kept of a sample beside its image: maps."""

import numpy as np
import pytest

from flows.catalogue import load_recipe
from schemas.dataset import DatasetRecipe
from schemas.products import MAPS
from simulate.draw import draw
from simulate.products import MAP_MAKERS
from simulate.render import noise_free, render

IDS = np.arange(30)


def test_every_map_has_a_maker() -> None:
    assert MAP_MAKERS.keys() == MAPS.keys()


def _with(recipe: str, products: str, *overrides: str) -> DatasetRecipe:
    return load_recipe(recipe, [f"products=[{products}]", *overrides])


@pytest.mark.parametrize("recipe", ["tiny", "model_i", "model_ii"])
def test_products_change_no_image(recipe: str) -> None:
    plain = render(load_recipe(recipe), IDS)
    asked = render(_with(recipe, ", ".join(MAPS)), IDS)
    assert asked.maps.keys() == MAPS.keys()
    for name, values in plain.arrays().items():
        assert asked.arrays()[name].tobytes() == values.tobytes()


def test_noise_free_is_the_image_of_the_recipe_without_noise() -> None:
    noisy = render(_with("model_ii_noisy", "noise_free"), IDS)
    assert noisy.image.tobytes() != noisy.maps["noise_free"].tobytes()
    silent = render(load_recipe("model_ii_noisy", ["noise={kind: none}"]), IDS)
    assert noisy.maps["noise_free"].tobytes() == silent.image.tobytes()


@pytest.mark.parametrize("name", ["model_i", "model_ii_noisy"])
def test_noise_free_has_the_factor_and_the_unit_of_the_image(name: str) -> None:
    recipe = _with(name, "noise_free", "image_factor=3")
    drawn = draw(recipe, IDS)
    # the images of Model I are counts
    seconds = drawn.columns["exposure_time_s"] if name == "model_i" else np.ones(len(IDS))
    expected = recipe.image_factor * (seconds[:, None, None] * noise_free(recipe, drawn))
    found = render(recipe, IDS)
    np.testing.assert_array_equal(found.maps["noise_free"][:, 0], expected.astype(np.float32))
    # the noise has a mean of zero where it is not clipped: sums over bright pixels agree
    bright = expected > np.percentile(expected, 95)
    assert found.image[:, 0][bright].mean() == pytest.approx(expected[bright].mean(), rel=0.02)


def test_maps_of_one_sample_alone_are_those_of_a_batch() -> None:
    recipe = _with("tiny", ", ".join(MAPS))
    batch = render(recipe, IDS)
    for sample in (0, 1, 17):
        alone = render(recipe, np.array([sample]))
        for name, values in batch.maps.items():
            assert alone.maps[name][0].tobytes() == values[sample].tobytes(), name
