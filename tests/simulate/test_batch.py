"""Batches: choosing rows, and making every deflection stronger."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lenstronomy.LensModel.lens_model import LensModel

from flows.catalogue import load_recipe
from simulate.batch import STRENGTHS, Deflectors, LensBatch, Light, merge
from simulate.draw import draw
from simulate.engines import ENGINES
from simulate.engines.line import line_deflection
from tests.strategies import RICH

ROWS = 12
RECIPE = load_recipe(
    "tiny", [*RICH, "instrument.num_pix=10", "classes.vortex.substructure.half_length_at_1e22_arcsec=0.005"]
)
SYSTEMS = draw(RECIPE, np.arange(ROWS)).systems
WHOLE = ENGINES["lenstronomy"](SYSTEMS, RECIPE.detector)


def profiles(systems: LensBatch) -> set[str]:
    return {group.profile for group in (*systems.deflectors, *systems.source, *systems.lens_light)}


@given(rows=st.lists(st.integers(0, ROWS - 1), max_size=6))
@settings(max_examples=20, deadline=None)
def test_a_subset_has_the_images_of_its_rows(rows: list[int]) -> None:
    chosen = SYSTEMS.subset(np.array(rows, dtype=np.int64))
    images = ENGINES["lenstronomy"](chosen, RECIPE.detector)
    assert images.tobytes() == WHOLE[rows].tobytes()


def test_a_subset_leaves_out_what_none_of_its_rows_has() -> None:
    assert profiles(SYSTEMS) == {"EPL", "SHEAR", "MULTIPOLE", "TNFW", "LINE", "SERSIC_ELLIPSE"}
    assert profiles(SYSTEMS.subset(np.array([0, 3]))) == {"EPL", "SHEAR", "MULTIPOLE", "SERSIC_ELLIPSE"}
    assert "LINE" in profiles(SYSTEMS.subset(np.array([2])))
    assert SYSTEMS.subset(np.array([], dtype=np.int64)).deflectors == ()


def test_owners_of_a_subset_ascend_from_zero() -> None:
    light = Light("SERSIC", np.array([0, 0, 2, 3, 3]), {"amp": np.arange(5.0)})
    chosen = LensBatch(4, (), (light,)).subset(np.array([3, 1, 0, 3]))
    (group,) = chosen.source
    assert chosen.rows == 4
    assert group.owner.tolist() == [0, 0, 2, 2, 3, 3]
    assert group.parameters["amp"].tolist() == [3, 4, 0, 1, 3, 4]


def test_merging_keeps_members_in_the_order_of_their_owners() -> None:
    one = Deflectors("SIS", np.array([0, 1]), {"theta_E": np.array([1.0, 2.0])})
    (group,) = merge([(np.array([1, 3]), one), (np.array([0, 2]), one)])
    assert group.owner.tolist() == [0, 1, 2, 3]
    assert group.parameters["theta_E"].tolist() == [1, 1, 2, 2]


STRONG: dict[str, dict[str, float]] = {
    "SIE": {"theta_E": 1.1, "e1": 0.1, "e2": -0.2, "center_x": 0.1, "center_y": 0.0},
    "EPL": {"theta_E": 1.1, "gamma": 1.7, "e1": 0.1, "e2": -0.2, "center_x": 0.1, "center_y": 0.0},
    "SHEAR": {"gamma1": 0.05, "gamma2": -0.02},
    "MULTIPOLE": {"m": 4, "a_m": 0.02, "phi_m": 0.3, "center_x": 0.1, "center_y": 0.0, "r_E": 1.0},
    "POINT_MASS": {"theta_E": 0.3, "center_x": 0.1, "center_y": 0.0},
    "TNFW": {"Rs": 0.3, "alpha_Rs": 0.02, "r_trunc": 1.0, "center_x": 0.1, "center_y": 0.0},
    "TNFWC": {
        "Rs": 0.3,
        "alpha_Rs": 0.02,
        "r_trunc": 1.0,
        "r_core": 0.05,
        "center_x": 0.1,
        "center_y": 0.0,
    },
    "LINE": {
        "theta_E": 0.3,
        "center_x": 0.1,
        "center_y": 0.0,
        "half_length": 0.8,
        "angle": 0.4,
        "points": 0.0,
    },
}


def deflection(profile: str, parameters: dict[str, Any]) -> np.ndarray:
    x, y = np.array([0.7, -1.2, 0.3]), np.array([0.2, 0.9, -1.5])
    if profile == "LINE":
        return np.array(line_deflection(x, y, **{k: v for k, v in parameters.items() if k != "points"}))
    return np.array(LensModel([profile]).alpha(x, y, [parameters]))


@pytest.mark.parametrize("profile", STRONG)
def test_scaling_multiplies_every_deflection(profile: str) -> None:
    group = Deflectors(
        profile, np.array([1]), {name: np.array([value]) for name, value in STRONG[profile].items()}
    )
    stronger = group.scaled(np.array([9.0, 0.633])).parameters
    scaled = deflection(profile, {name: float(values[0]) for name, values in stronger.items()})
    np.testing.assert_allclose(scaled, 0.633 * deflection(profile, STRONG[profile]), rtol=1e-12)


def test_every_profile_knows_how_it_grows() -> None:
    assert set(STRONG) == {*STRENGTHS, "EPL"}
