"""DeepLenseSim's own images, 27 of them, before its doubling and its noise."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows.catalogue import load_recipe
from simulate.batch import Deflectors, LensBatch, Light
from simulate.cosmology import deflection_scale
from simulate.engines import ENGINES
from simulate.photometry import sersic_amplitude

GOLDEN = Path(__file__).parents[1] / "golden"
CASES = json.loads((GOLDEN / "deeplensesim_reference.json").read_text())["cases"]


@pytest.fixture(scope="module")
def arrays() -> Any:
    with np.load(GOLDEN / "deeplensesim_reference.npz") as npz:
        yield {name: npz[name] for name in npz.files}


def one(numbers: dict[str, float]) -> dict[str, np.ndarray]:
    return {name: np.array([float(value)]) for name, value in numbers.items()}


def deflectors_of(case: dict[str, Any], arrays: dict[str, np.ndarray]) -> list[Deflectors]:
    first = np.array([0])
    smooth = [Deflectors("SIE", first, one(case["sie"])), Deflectors("SHEAR", first, one(case["shear"]))]
    points = arrays.get(f"{case['key']}_point_theta_E", np.array([]))
    if not len(points):
        return smooth
    where = {f"center_{axis}": arrays[f"{case['key']}_point_{axis}"] for axis in "xy"}
    return [*smooth, Deflectors("POINT_MASS", np.zeros(len(points), int), {"theta_E": points, **where})]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("case", CASES, ids=[case["key"] for case in CASES])
def test_the_reference_image_is_reproduced(
    case: dict[str, Any], engine: str, arrays: dict[str, np.ndarray]
) -> None:
    recipe = load_recipe(f"model_{case['model'].lower()}")
    source = one(case["source"])
    if "magnitude" in source:
        source["amp"] = sersic_amplitude(
            source.pop("magnitude"),
            recipe.detector.magnitude_zero_point,
            source["R_sersic"],
            source["n_sersic"],
        )
    scale = deflection_scale(recipe.deflection_convention, np.array([0.5]), np.array([1.0]))
    deflectors = tuple(group.scaled(scale) for group in deflectors_of(case, arrays))
    systems = LensBatch(1, deflectors, (Light("SERSIC_ELLIPSE", np.array([0]), source),))
    image = ENGINES[engine](systems, recipe.detector)[0]
    reference = arrays[f"{case['key']}_image"]
    tolerance = 5e-6 if engine == "fused_float32" else 1e-10
    assert np.abs(image - reference).max() < tolerance * reference.max()


def test_all_27_cases_are_there() -> None:
    assert len({case["key"] for case in CASES}) == 27
    assert {(case["model"], case["cls"]) for case in CASES} == {
        (model, name) for model in ("I", "II", "III") for name in ("no_sub", "cdm", "axion")
    }


@pytest.mark.parametrize("model", ["I", "II", "III"])
def test_the_shipped_replica_has_the_numbers_of_the_reference(model: str) -> None:
    case = next(case for case in CASES if case["model"] == model)
    recipe = load_recipe(f"model_{model.lower()}")
    for component, numbers in (
        (recipe.main_lens, case["sie"]),
        (recipe.shear, case["shear"]),
        (recipe.source, {k: v for k, v in case["source"].items() if not k.startswith("center")}),
    ):
        assert {name: getattr(component, name).support for name in numbers} == {
            name: (value, value) for name, value in numbers.items()
        }
