"""Targets follow their image: what a lens with the moved parameters looks like is the moved image."""

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from flows.catalogue import load_recipe
from schemas.columns import columns_of
from schemas.errors import RecipeError
from schemas.laws import laws_of
from schemas.objective import Target
from schemas.preparation import Augmentation, ScaleRange
from schemas.run import FittedTarget
from simulate.draw import draw
from simulate.render import noise_free
from train.augment import Motion, moved
from train.target_motion import TargetMotion, check_targets

VORTEX = 2
PLACES = {
    "theta_E": "main_lens.theta_E",
    "e1": "main_lens.e1",
    "e2": "main_lens.e2",
    "center_x": "main_lens.center_x",
    "center_y": "main_lens.center_y",
    "gamma1": "shear.gamma1",
    "gamma2": "shear.gamma2",
    "source_magnitude": "source.magnitude",
    "source_R_sersic": "source.R_sersic",
    "source_e1": "source.e1",
    "source_e2": "source.e2",
    "source_center_x": "source.center_x",
    "source_center_y": "source.center_y",
}
SYSTEM = {
    "theta_E": 1.0,
    "e1": 0.15,
    "e2": -0.1,
    "center_x": 0.06,
    "center_y": -0.09,
    "gamma1": 0.05,
    "gamma2": 0.08,
    "source_magnitude": 20.0,
    "source_R_sersic": 0.35,
    "source_e1": 0.2,
    "source_e2": -0.15,
    "source_center_x": 0.16,
    "source_center_y": 0.07,
    "vortex_angle_rad": 0.7,
}
ALL = Augmentation(quarter_turns=True, flips=True, rotation_degrees=180, shift_pixels=8, scale={"high": 1.5})
TURNING = [name for name in SYSTEM if name not in ("theta_E", "source_magnitude", "source_R_sersic")]


def _recipe(columns: dict[str, float]) -> Any:
    return load_recipe(
        "model_ii",
        [
            "deflection_convention=null",
            "instrument={kind: detector, num_pix: 72, pixel_scale_arcsec: 0.07, psf: {kind: none}}",
            # no cusp, which interpolation would blunt
            "source.n_sersic=0.5",
            "classes.vortex.substructure={kind: vortex, points: 40, mass_msun: 4e10, axion_mass_ev: 5e-24,"
            " half_length_at_1e22_arcsec: 0.03}",
            *(f"{PLACES[name]}={value!r}" for name, value in columns.items() if name in PLACES),
        ],
    )


def _rendered(columns: dict[str, float], sample: int = VORTEX) -> Tensor:
    """(1, 1, y, x), float64."""
    recipe = _recipe(columns)
    drawn = draw(recipe, np.array([sample]))
    deflectors = tuple(
        replace(one, parameters={**one.parameters, "angle": np.array([columns["vortex_angle_rad"]])})
        if one.profile == "LINE"
        else one
        for one in drawn.systems.deflectors
    )
    drawn = replace(drawn, systems=replace(drawn.systems, deflectors=deflectors))
    return torch.from_numpy(noise_free(recipe, drawn))[:, None]


def _motion(
    quarters: int = 0,
    mirrored: bool = False,
    degrees: float = 0.0,
    scale: float = 1.0,
    shift: tuple[float, float] = (0.0, 0.0),
) -> Motion:
    def row(value: Any) -> Tensor:
        return torch.tensor([value], dtype=torch.float64)

    return Motion(row(quarters), row(float(mirrored)), row(math.radians(degrees)), row(scale), row(shift))


def _store() -> Any:
    recipe = _recipe(SYSTEM)
    return SimpleNamespace(
        recipe=recipe,
        stored=SimpleNamespace(recipe=recipe),
        pixel_scale_arcsec=recipe.detector.pixel_scale_arcsec,
        plan=SimpleNamespace(columns=columns_of(recipe)),
    )


def _params(store: Any) -> NDArray[np.float64]:
    return np.array([[SYSTEM.get(column.name, 1.0) for column in store.plan.columns]])


def _followed(motion: Motion, names: list[str]) -> dict[str, float]:
    """The system after a motion, with these columns as targets and the rest as it was."""
    store = _store()
    fitted = [FittedTarget(target=Target(column=name), unit="", mean=0.3, spread=2.0) for name in names]
    mover = TargetMotion(ALL, fitted, store)
    encoded = torch.tensor([[(SYSTEM[name] - 0.3) / 2 for name in names]], dtype=torch.float64)
    joined = mover.joined(encoded, store, SimpleNamespace(params=_params(store), __len__=lambda: 1))  # type: ignore[arg-type]
    after = mover(joined, motion)
    assert after.shape == encoded.shape
    return SYSTEM | dict(zip(names, (2 * after[0] + 0.3).tolist(), strict=True))


def _difference(one: Tensor, other: Tensor) -> float:
    """The largest, in parts of the brightest pixel."""
    return float((one - other).abs().max() / other.max())


def _misplaced(one: Tensor, other: Tensor) -> float:
    """Share of the light inside the border that is elsewhere: one sharp pixel at the lens matters little."""
    inside = slice(8, -8)
    one, other = one[..., inside, inside], other[..., inside, inside]
    return float((one - other).abs().sum() / other.sum())


EXACT = [(quarters, mirrored) for quarters in range(4) for mirrored in (False, True)][1:]


@pytest.mark.parametrize(("quarters", "mirrored"), EXACT)
def test_turned_and_mirrored_images_are_those_of_the_moved_parameters(quarters: int, mirrored: bool) -> None:
    motion = _motion(quarters, mirrored)
    expected = moved(_rendered(SYSTEM), motion, interpolates=False)
    found = _followed(motion, list(SYSTEM))
    assert 0 <= found["vortex_angle_rad"] < math.pi
    assert _difference(_rendered(found), expected) < 1e-6


@pytest.mark.parametrize("name", TURNING)
def test_each_target_has_to_follow(name: str) -> None:
    motion = _motion(1)
    expected = moved(_rendered(SYSTEM), motion, interpolates=False)
    without = _followed(motion, list(SYSTEM)) | {name: SYSTEM[name]}
    assert _difference(_rendered(without), expected) > 1e-3


SMOOTH = {
    "rotation": _motion(degrees=23),
    "rotation the other way, after a flip": _motion(mirrored=True, degrees=-41),
    "shift": _motion(shift=(5.3, -3.8)),
    "all but scaling": _motion(3, True, 15, 1.0, (-4.2, 2.4)),
}


@pytest.mark.parametrize("motion", SMOOTH.values(), ids=SMOOTH)
def test_smooth_motions_are_those_of_the_moved_parameters_but_for_interpolation(motion: Motion) -> None:
    expected = moved(_rendered(SYSTEM), motion, interpolates=True)
    assert _misplaced(_rendered(_followed(motion, list(SYSTEM))), expected) < 0.012
    assert _misplaced(_rendered(SYSTEM), expected) > 0.2


@pytest.mark.parametrize("name", TURNING)
def test_each_target_has_to_follow_a_rotation(name: str) -> None:
    motion = _motion(1, True, 30)
    expected = moved(_rendered(SYSTEM), motion, interpolates=True)
    without = _followed(motion, list(SYSTEM)) | {name: SYSTEM[name]}
    assert _misplaced(_rendered(without), expected) > 0.02


def test_a_shifted_source_follows_the_shear_about_the_middle() -> None:
    motion = _motion(shift=(7.0, -6.0))
    found = _followed(motion, ["center_x", "source_center_x"])
    assert found["center_x"] == pytest.approx(SYSTEM["center_x"] + 0.49)
    assert found["source_center_x"] == pytest.approx(
        SYSTEM["source_center_x"] + 0.49 - 0.05 * 0.49 - 0.08 * -0.42
    )


@pytest.mark.parametrize("scale", [0.85, 1.2])
def test_scaled_images_are_those_of_longer_lengths_and_brighter_sources(scale: float) -> None:
    motion = _motion(scale=scale)
    smooth = [name for name in SYSTEM if name != "vortex_angle_rad"]
    expected = moved(_rendered(SYSTEM, sample=0), motion, interpolates=True)
    found = _followed(motion, smooth)
    assert found["theta_E"] == pytest.approx(scale)
    assert _misplaced(_rendered(found, sample=0), expected) < 0.012
    assert _misplaced(_rendered(SYSTEM, sample=0), expected) > 0.2


@pytest.mark.parametrize("name", TURNING)
def test_half_of_a_pair_is_enough(name: str) -> None:
    motion = _motion(1, True, 12, 1.0, (2.0, 1.0))
    assert _followed(motion, [name])[name] == pytest.approx(_followed(motion, list(SYSTEM))[name], abs=1e-7)


def test_a_target_that_is_not_there_stays_so() -> None:
    store = _store()
    fitted = [
        FittedTarget(target=Target(column=one), unit="", mean=0.0, spread=1.0)
        for one in ("vortex_angle_rad", "theta_E")
    ]
    after = TargetMotion(ALL, fitted, store)(torch.tensor([[math.nan, 1.0]]), _motion(1, True, 12))
    assert torch.isnan(after[0, 0])
    assert after[0, 1] == 1


def test_logarithms_are_scaled_too() -> None:
    target = Target(column="theta_E", transform="log10")
    fitted = FittedTarget(target=target, unit="dex", mean=1.0, spread=2.0)
    after = TargetMotion(ALL, [fitted], _store())(torch.tensor([[0.25]]), _motion(scale=1.25))
    assert float(after) == pytest.approx(0.25 + math.log10(1.25) / 2)


REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "a mass under scaling": ({"scale": ScaleRange(high=1.2)}, "vortex_mass_msun", "leave scale out"),
    "a redshift under scaling": ({"scale": ScaleRange(high=1.2)}, "z_lens", "leave scale out"),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_targets_that_cannot_follow_are_named(fault: str) -> None:
    options, name, advice = REFUSED[fault]
    with pytest.raises(RecipeError, match=rf"not the target {name} \(.*{advice}"):
        check_targets(Augmentation(**options), ["theta_E", name], _store())
    check_targets(Augmentation(quarter_turns=True, flips=True, rotation_degrees=9), [name], _store())


def test_sources_behind_a_rescaled_shear_are_not_shifted() -> None:
    recipe = load_recipe("model_iii", [])
    store: Any = SimpleNamespace(
        recipe=recipe,
        stored=SimpleNamespace(recipe=recipe),
        pixel_scale_arcsec=recipe.detector.pixel_scale_arcsec,
        plan=SimpleNamespace(columns=columns_of(recipe)),
    )
    with pytest.raises(RecipeError, match="rescales the shear"):
        check_targets(Augmentation(shift_pixels=2), ["source_center_x"], store)
    check_targets(Augmentation(quarter_turns=True), ["source_center_x"], store)


def test_a_column_that_turns_without_a_law_is_refused() -> None:
    store = _store()
    odd = store.plan.columns[0].model_copy(update={"name": "odd", "turns": True})
    store.plan.columns = (*store.plan.columns, odd)
    for options in (Augmentation(flips=True), Augmentation(shift_pixels=1)):
        with pytest.raises(RecipeError, match="not the target odd"):
            check_targets(options, ["odd"], store)


@pytest.mark.parametrize("name", ["model_i", "model_iv", "tiny", "hst", "dark_matter_zoo", "jwst"])
def test_every_column_that_turns_has_a_law(name: str) -> None:
    recipe = load_recipe(name, []) if name != "model_iv" else load_recipe("tiny", [])
    laws = laws_of(recipe)
    columns = {column.name: column for column in columns_of(recipe)}
    assert set(laws) <= set(columns) | {"theta_E_smooth", "source_state", "detectability"}
    assert not [one.name for one in columns.values() if one.turns and laws.get(one.name) in (None, "fixed")]


def test_later_components_count_from_the_first() -> None:
    more = "source=[{magnitude: 20, R_sersic: 0.2, n_sersic: 1}, {magnitude: 22, R_sersic: 0.1, n_sersic: 1}]"
    laws = laws_of(load_recipe("model_ii", [more, "deflection_convention=null"]))
    assert (laws["source_center_x"], laws["source_2_center_x"]) == ("source_x", "offset_x")
    assert laws["center_y"] == "y"
