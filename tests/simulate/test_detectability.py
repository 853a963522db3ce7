"""What is left of substructure after a refit: limits, an independent fit, cost, and the column."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args
from unittest.mock import patch

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import least_squares

from flows.catalogue import load_recipe
from schemas.columns import columns_of
from schemas.dataset import DatasetRecipe
from schemas.detectability import ideal_auc
from schemas.system import MainLens, Multipole, Shear
from simulate import detectability as module
from simulate.batch import Deflectors, LensBatch, Light
from simulate.detectability import detectability, noise_variance
from simulate.draw import Drawn, draw
from simulate.engines import ENGINES
from simulate.render import finish, noise_free, render
from simulate.smooth_model import MASS, brightness_moves, moved, shape_moves, smooth_part

Array = NDArray[np.float64]
CDM, VORTEX = 1, 2
FREE = 13
# everything that a smooth lens can have: EPL, multipole, light of the lens
RICH = (
    "main_lens={kind: EPL, theta_E: 1.2, e1: 0.1, gamma: 2.1}",
    "multipole={m: 4, a_m: 0.01, phi_m: 0.3}",
    "lens_light={magnitude: 19, R_sersic: 0.5, n_sersic: 2}",
    "deflection_convention=null",
)


def _recipe(*overrides: str) -> DatasetRecipe:
    return load_recipe("model_ii_noisy", list(overrides))


def _systems(recipe: DatasetRecipe, position: int, count: int) -> Drawn:
    return draw(recipe, np.arange(count) * len(recipe.classes) + position)


def _signal(recipe: DatasetRecipe, drawn: Drawn, images: Array | None = None, **options: Any) -> Array:
    images = noise_free(recipe, drawn) if images is None else images
    return detectability(recipe, drawn, images, np.arange(len(images)), **options)


def _smooth_image(recipe: DatasetRecipe, smooth: LensBatch) -> Array:
    return ENGINES[recipe.engine](smooth, recipe.detector)


def _with_substructure(drawn: Drawn, change: Callable[[Deflectors], Deflectors]) -> Drawn:
    groups = drawn.systems.deflectors
    changed = tuple(group if group.profile in MASS else change(group) for group in groups)
    return replace(drawn, systems=replace(drawn.systems, deflectors=changed))


def _scaled(factor: float) -> Callable[[Deflectors], Deflectors]:
    return lambda group: group.scaled(np.full(group.owner.max() + 1, factor))


def test_without_substructure_nothing_can_be_seen() -> None:
    recipe = _recipe()
    assert (_signal(recipe, _systems(recipe, 0, 3)) == 0).all()


def test_substructure_without_mass_cannot_be_seen() -> None:
    recipe = _recipe()
    massless = _with_substructure(_systems(recipe, CDM, 3), _scaled(0.0))
    np.testing.assert_allclose(_signal(recipe, massless), 0, atol=1e-9)


@pytest.mark.parametrize("position", [CDM, VORTEX])
def test_a_weak_signal_grows_with_the_mass(position: int) -> None:
    recipe = _recipe()
    drawn = _systems(recipe, position, 4)
    weak, weaker = (_signal(recipe, _with_substructure(drawn, _scaled(by))) for by in (1e-4, 1e-5))
    assert (weaker > 0).all()
    np.testing.assert_allclose(weak / weaker, 10, rtol=1e-3)


@pytest.mark.parametrize("k", range(FREE))
def test_what_a_smooth_lens_can_be_is_no_signal(k: int) -> None:
    recipe = _recipe()
    drawn = _systems(recipe, CDM, 3)
    smooth = smooth_part(recipe, drawn)
    moves = (*shape_moves(smooth), *brightness_moves(smooth))
    assert len(moves) == FREE
    moved_images = _smooth_image(recipe, moves[k](smooth, np.full(3, 1e-4)))
    deviates = np.sqrt(noise_variance(recipe, drawn, moved_images, np.arange(3)))
    difference = (moved_images - _smooth_image(recipe, smooth)) / deviates
    whole = np.sqrt((difference**2).sum(axis=(1, 2)))
    assert (whole > 1e-3).all()
    # one linear fit leaves what is of second order, further ones nothing
    assert (_signal(recipe, drawn, moved_images, refits=0) < 3e-3 * whole).all()
    assert (_signal(recipe, drawn, moved_images) < 1e-5 * whole).all()


def test_the_slope_is_free_for_a_power_law_alone() -> None:
    power_law = _recipe("main_lens={kind: EPL, theta_E: 1.28, e1: 0.1, gamma: 2.0}")
    isothermal = _recipe("main_lens={kind: SIE, theta_E: 1.28, e1: 0.1}")
    drawn = _systems(power_law, CDM, 2)
    smooth = smooth_part(power_law, drawn)
    steeper = tuple(
        replace(group, parameters={**group.parameters, "gamma": group.parameters["gamma"] + 1e-3})
        if group.profile == "EPL"
        else group
        for group in smooth.deflectors
    )
    images = _smooth_image(power_law, replace(smooth, deflectors=steeper))
    seen = _signal(isothermal, _systems(isothermal, CDM, 2), images)
    assert (seen > 0.03).all()
    assert (_signal(power_law, drawn, images) < 1e-3 * seen).all()


def test_multipole_and_lens_light_are_free_too() -> None:
    recipe = _recipe(*RICH)
    drawn = _systems(recipe, CDM, 2)
    smooth = smooth_part(recipe, drawn)
    moves = (*shape_moves(smooth), *brightness_moves(smooth))
    assert len(moves) == FREE + 4
    steps = np.full((2, len(moves)), 1e-4)
    images = _smooth_image(recipe, moved(smooth, moves, steps))
    assert (_signal(recipe, drawn, images) < 1e-4).all()


def test_the_step_of_the_derivatives_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = _recipe()
    drawn = _systems(recipe, VORTEX, 8)
    usual = _signal(recipe, drawn)
    for step in (1e-5, 1e-7):
        monkeypatch.setattr(module, "STEP", step)
        np.testing.assert_allclose(_signal(recipe, drawn), usual, rtol=2e-3)


def test_one_sided_derivatives_do_as_well_as_central_ones_with_a_plain_least_squares_fit() -> None:
    recipe = _recipe()
    drawn = _systems(recipe, VORTEX, 4)
    images = noise_free(recipe, drawn)
    smooth = smooth_part(recipe, drawn)
    shapes, h = shape_moves(smooth), 1e-5
    start = _smooth_image(recipe, smooth)
    central = [
        (
            _smooth_image(recipe, move(smooth, np.full(4, h)))
            - _smooth_image(recipe, move(smooth, np.full(4, -h)))
        )
        / (2 * h)
        for move in shapes
    ]
    deviates = np.sqrt(noise_variance(recipe, drawn, images, np.arange(4)))
    expected = []
    for row in range(4):
        basis = np.stack([(d[row] / deviates[row]).ravel() for d in (*central, start)], axis=1)
        difference = ((images[row] - start[row]) / deviates[row]).ravel()
        best = np.linalg.lstsq(basis, difference, rcond=None)[0]
        expected.append(np.linalg.norm(difference - basis @ best))
    np.testing.assert_allclose(_signal(recipe, drawn, images, refits=0), expected, rtol=1e-3)


def test_brightness_needs_no_finite_difference() -> None:
    recipe = _recipe(*RICH)
    smooth = smooth_part(recipe, _systems(recipe, CDM, 2))
    start, h = _smooth_image(recipe, smooth), np.full(2, 1e-3)
    source, lens = (
        (_smooth_image(recipe, move(smooth, h)) - start) / 1e-3 for move in brightness_moves(smooth)
    )
    derivatives = module._derivatives(
        smooth, (), start, lambda systems: ENGINES[recipe.engine](systems, recipe.detector)
    )
    np.testing.assert_allclose(derivatives[:, 0], source, atol=1e-10)
    np.testing.assert_allclose(derivatives[:, 1], lens, atol=1e-10)


def _from_parameters(p: Array) -> LensBatch:
    """A smooth lens by thirteen numbers, made without what the code under test has for it."""
    e = np.arange(1)
    value = [np.array([one]) for one in p]
    names = ("theta_E", "e1", "e2", "center_x", "center_y")
    return LensBatch(
        1,
        (
            Deflectors("SIE", e, dict(zip(names, value[:5], strict=True))),
            Deflectors("SHEAR", e, {"gamma1": value[5], "gamma2": value[6]}),
        ),
        (
            Light(
                "SERSIC_ELLIPSE",
                e,
                {
                    "amp": value[7],
                    "R_sersic": value[8],
                    "n_sersic": np.ones(1),
                    **dict(zip(names[1:], value[9:], strict=True)),
                },
            ),
        ),
    )


@pytest.mark.parametrize(
    ("override", "position"),
    [
        ("classes.cdm.substructure.mass_msun.high=1e9", CDM),
        ("classes.vortex.substructure.mass_msun=3e9", VORTEX),
    ],
)
def test_a_full_fit_through_lenstronomy_leaves_as_much(override: str, position: int) -> None:
    recipe = _recipe(override)
    drawn = _systems(recipe, position, 2)
    images = ENGINES["lenstronomy"](drawn.systems, recipe.detector)
    detector, found = recipe.detector, _signal(recipe, drawn, images)
    main, shear = drawn.systems.deflectors[:2]
    source = drawn.systems.source[0]
    for row in range(2):
        start = np.array(
            [
                *(main.parameters[name][row] for name in ("theta_E", "e1", "e2", "center_x", "center_y")),
                *(shear.parameters[name][row] for name in ("gamma1", "gamma2")),
                *(
                    source.parameters[name][row]
                    for name in ("amp", "R_sersic", "e1", "e2", "center_x", "center_y")
                ),
            ]
        )
        assert (source.parameters["n_sersic"] == 1).all()
        read = 4.2**2 * 4 / (4 * 566) ** 2
        sky = 10 ** (-0.4 * (22.3 - 25.72)) * 0.101**2 / (4 * 566)
        sigma = np.sqrt(read + sky + images[row] / (4 * 566))

        def residual(p: Array, image: Array = images[row], sigma: Array = sigma) -> Array:
            model = ENGINES["lenstronomy"](_from_parameters(p), detector)[0]
            return np.asarray(((image - model) / sigma).ravel())

        scale = np.where(np.arange(FREE) == 7, start[7], 1.0) * 0.01
        best = least_squares(residual, start, x_scale=scale, max_nfev=15)
        assert found[row] == pytest.approx(np.sqrt(2 * best.cost), rel=0.02)


def test_a_system_counts_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = _recipe()
    drawn = draw(recipe, np.arange(24))
    images = noise_free(recipe, drawn)
    whole = detectability(recipe, drawn, images, np.arange(24))
    assert (whole[drawn.label == 0] == 0).all()
    for row in (1, 14, 23):
        alone = draw(recipe, drawn.sample_id[row : row + 1])
        assert detectability(recipe, alone, images[row : row + 1], np.arange(1))[0] == whole[row]
    some = np.array([23, 0, 7])
    assert (detectability(recipe, drawn, images, some) == whole[some]).all()
    monkeypatch.setattr(module, "PIXELS_TOGETHER", 3 * 64 * 64)
    assert (detectability(recipe, drawn, images, np.arange(24)) == whole).all()


def test_the_variance_is_that_of_the_noise_that_is_drawn() -> None:
    for name, position in (("model_iii_noisy", CDM), ("model_ii_noisy", VORTEX)):
        recipe = load_recipe(name)
        one = _systems(recipe, position, 1)
        image = noise_free(recipe, one)
        many = replace(one, sample_id=np.arange(600))
        noisy = finish(recipe, many, np.repeat(image, 600, axis=0)).astype(float)
        expected = noise_variance(recipe, one, image, np.arange(1))[0]
        assert np.mean(noisy.var(axis=0, ddof=1) / expected) == pytest.approx(1, abs=0.005)


def test_the_shot_noise_of_model_i_comes_twice() -> None:
    recipe = load_recipe("model_i")
    drawn = _systems(recipe, CDM, 2)
    images = noise_free(recipe, drawn)
    expected = 0.01**2 + 2 * images / drawn.columns["exposure_time_s"][:, None, None]
    np.testing.assert_allclose(noise_variance(recipe, drawn, images, np.arange(2)), expected, rtol=1e-12)
    assert (_signal(recipe, drawn) > 1).all()


def test_four_exposures_show_twice_as_much() -> None:
    one, four = _recipe("instrument.num_exposures=1"), _recipe("instrument.num_exposures=4")
    np.testing.assert_allclose(
        2 * _signal(one, _systems(one, VORTEX, 3)), _signal(four, _systems(four, VORTEX, 3)), rtol=1e-9
    )


@pytest.mark.parametrize("overrides", [(), RICH])
def test_a_sample_takes_fewer_than_twenty_renders(overrides: tuple[str, ...]) -> None:
    recipe = _recipe(*overrides)
    drawn = _systems(recipe, VORTEX, 6)
    images = noise_free(recipe, drawn)
    engine, made = ENGINES[recipe.engine], []

    def counted(systems: LensBatch, detector: Any) -> Array:
        made.append(systems.rows)
        return engine(systems, detector)

    with patch.dict(ENGINES, {recipe.engine: counted}):
        _signal(recipe, drawn, images)
    # the image itself had to be made anyway
    per_system = 1 + sum(made) / 6
    assert per_system == (16 if not overrides else 20)


def test_parameters_that_change_nothing_do_no_harm() -> None:
    """A round lens without shear, far from a source behind its centre, hardly tells its ellipticity."""
    recipe = _recipe(
        "main_lens={kind: SIE, theta_E: 1e-9}", "shear={gamma1: 0, gamma2: 0}", "source.center_x=0"
    )
    signal = _signal(recipe, _systems(recipe, CDM, 3))
    assert np.isfinite(signal).all()
    assert (signal > 0).all()


def test_every_smooth_component_has_its_parameters() -> None:
    lenses = {kind.model_fields["kind"].default for kind in get_args(get_args(MainLens)[0])[:2]}
    assert {*lenses, Shear().kind, Multipole.model_fields["kind"].default} == set(MASS)


def test_the_column_changes_nothing_else_and_is_there_for_its_split_alone() -> None:
    plain, asked = _recipe(), _recipe("detectability=[test, val]")
    ids = np.arange(210)
    without, with_it = render(plain, ids), render(asked, ids)
    assert columns_of(asked)[:-1] == columns_of(plain)
    np.testing.assert_array_equal(without.image, with_it.image)
    np.testing.assert_array_equal(without.params, with_it.params[:, :-1])
    in_train = asked.split_positions(ids) == 0
    assert 0 < in_train.sum() < len(ids)
    column = with_it.params[:, -1]
    assert (np.isnan(column) == in_train).all()
    assert (column[~in_train & (with_it.label == 0)] == 0).all()
    drawn = draw(asked, ids)
    expected = detectability(asked, drawn, noise_free(asked, drawn), np.flatnonzero(~in_train))
    assert (column[~in_train] == expected).all()
    row = int(np.flatnonzero(~in_train)[-1])
    assert (render(asked, ids[row : row + 1]).params[0, -1]) == column[row]


def test_the_replicas_substructure_is_as_visible_as_was_measured_before() -> None:
    """Six of the nine rows of the table of `docs/detectability.md`, with one exposure and fewer systems."""
    for override, position, before in (
        ("", CDM, 37.0),
        ("classes.cdm.substructure.mass_msun.high=1e9", CDM, 4.2),
        ("classes.cdm.substructure.mass_msun.high=1e8", CDM, 0.5),
        ("", VORTEX, 21.0),
        ("classes.vortex.substructure.mass_msun=1e10", VORTEX, 7.5),
        ("classes.vortex.substructure.mass_msun=1e9", VORTEX, 0.8),
    ):
        recipe = _recipe("instrument.num_exposures=1", *([override] if override else []))
        median = float(np.median(_signal(recipe, _systems(recipe, position, 100))))
        assert 1 / 1.5 < median / before < 1.5


def test_the_ideal_auc_of_nothing_is_one_half() -> None:
    np.testing.assert_allclose(
        ideal_auc(np.array([0.0, 1.0, 2.0, 40.0])), [0.5, 0.7602499389, 0.9213503965, 1.0], rtol=1e-9
    )


def test_compensating_the_mass_hides_nothing() -> None:
    """Taking mass off the main lens is a change of the smooth lens."""
    overrides = ("classes.vortex.substructure.mass_msun=1e8", "instrument.num_pix=48")
    kept, compensated = (
        load_recipe("tiny", [*overrides, f"compensate_mass={whether}"]) for whether in ("false", "true")
    )
    drawn = _systems(compensated, VORTEX, 4)
    assert (drawn.columns["theta_E_smooth"] < drawn.columns["theta_E"]).all()
    expected = _signal(kept, _systems(kept, VORTEX, 4))
    np.testing.assert_allclose(_signal(compensated, drawn), expected, rtol=0.01)
