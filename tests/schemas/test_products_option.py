"""Asking for products: the option, what it leaves alone, and what is refused."""

from collections.abc import Callable

import pytest

from flows.catalogue import load_recipe
from schemas.dataset import DatasetRecipe
from schemas.errors import RecipeError
from schemas.products import MAPS, PRODUCTS, map_shape
from schemas.store import StorePlan

PlanOf = Callable[[DatasetRecipe, int], StorePlan]
ALL = "products=[noise_free, convergence, deflection, subhalos]"


def test_products_are_no_part_of_the_identity() -> None:
    plain, asked = load_recipe("tiny"), load_recipe("tiny", [ALL])
    assert plain.products == ()
    assert asked.products == PRODUCTS
    assert asked.digest == plain.digest
    assert "products" not in asked.physics_json


def test_the_order_of_products_does_not_matter() -> None:
    one, other = (
        load_recipe("tiny", [f"products=[{said}]"])
        for said in ("deflection, noise_free", "noise_free, deflection")
    )
    assert one == other


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("products=[kappa]", "'noise_free', 'convergence', 'deflection' or 'subhalos'"),
        ("products=[noise_free, deflection, noise_free]", "noise_free named more than once"),
        ("products=noise_free", "valid array"),
        ("products=null", "valid array"),
    ],
)
def test_what_makes_no_sense_is_refused(override: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        load_recipe("tiny", [override])


def test_a_plan_has_the_arrays_that_are_asked_for(plan_of: PlanOf) -> None:
    plain = plan_of(load_recipe("tiny"), 8)
    assert [spec.name for spec in plain.arrays] == ["image", "label", "sample_id", "params"]
    assert plain.catalogue == ()
    asked = plan_of(load_recipe("tiny", [ALL]), 8)
    assert asked.arrays[:4] == plain.arrays
    shapes = {spec.name: spec.tail for spec in asked.arrays[4:]}
    assert shapes == {"noise_free": (1, 32, 32), "convergence": (1, 32, 32), "deflection": (2, 32, 32)}
    assert asked.catalogue


def test_maps_follow_the_bands_of_the_image() -> None:
    assert {name: map_shape(name, (3, 8, 9)) for name in MAPS} == {
        "noise_free": (3, 8, 9),
        "convergence": (1, 8, 9),
        "deflection": (2, 8, 9),
    }
    # one name has one length in a group, whatever the number of bands
    assert len({spec.dimension for spec in MAPS.values()}) == len(MAPS)
