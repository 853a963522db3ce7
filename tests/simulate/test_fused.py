"""The compiled engines against lenstronomy, and what a fast path must not depend on."""

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.catalogue import complete, load_recipe
from schemas.dataset import DatasetRecipe
from schemas.instrument import Detector, GaussianPSF, KernelPSF, NoPSF
from simulate.batch import Deflectors, LensBatch, Light, merge
from simulate.draw import draw
from simulate.engines import ENGINES, fused
from simulate.kernels import tnfw
from tests.strategies import RICH, Document, instruments

Array = np.ndarray
FUSED = ("fused", "fused_exact", "fused_float32")
EPL, MULTIPOLE, LENS_LIGHT, HALOS, CONTINUOUS = RICH
SMALL = Detector(num_pix=12, pixel_scale_arcsec=0.25, psf=NoPSF())
UNEVEN = ((0.0, 0.2, 0.0), (0.1, 0.4, 0.0), (0.0, 0.1, 0.2))
PSFS = (
    NoPSF(),
    GaussianPSF(fwhm_arcsec=0.3),
    KernelPSF(values=UNEVEN),
    KernelPSF(values=UNEVEN, sampling=2),
)
# truncations on both sides of where the table begins
WIDE_HALOS = (
    "classes.cdm.substructure.profile={kind: TNFW, concentration: 10, truncation: {kind: log_uniform,"
    " low: 0.01, high: 0.3}}"
)


def deviations(systems: LensBatch, detector: Detector, engine: str) -> Array:
    """Largest difference from lenstronomy in each image, in parts of its peak."""
    reference = ENGINES["lenstronomy"](systems, detector)
    images = ENGINES[engine](systems, detector)
    assert images.shape == reference.shape
    assert images.dtype == np.float64
    peak = reference.max(axis=(1, 2))
    assert (peak > 0).all()
    return np.asarray(np.abs(images - reference).max(axis=(1, 2)) / peak)


def profiles(systems: LensBatch) -> set[str]:
    return {group.profile for group in systems.deflectors}


def tolerance(systems: LensBatch, engine: str) -> float:
    """What each engine promises (docs/accuracy.md)."""
    steepest = max(
        [float(group.parameters["n_sersic"].max()) for group in (*systems.source, *systems.lens_light)]
    )
    if engine == "fused_float32":
        return 5e-6 if steepest <= 4 else 5e-5
    exact = 1e-12 if steepest <= 4 else 1e-10
    if "TNFW" not in profiles(systems):
        return exact
    # lenstronomy's own formula loses digits close to a halo's centre
    return 1e-6 if engine == "fused" else 1e-10


def assert_alike(systems: LensBatch, detector: Detector, engines: Sequence[str] = FUSED) -> None:
    for engine in engines:
        assert deviations(systems, detector, engine).max() <= tolerance(systems, engine), engine


def systems_of(ids: Sequence[int], *overrides: str, name: str = "tiny") -> LensBatch:
    return draw(load_recipe(name, overrides), np.array(ids)).systems


@pytest.mark.parametrize("name", complete())
def test_shipped_recipes_are_as_lenstronomy_has_them(name: str) -> None:
    recipe = load_recipe(name)
    # lenstronomy takes seconds for a large image with subhalos
    count = 6 if recipe.detector.num_pix < 160 else len(recipe.classes)
    assert_alike(draw(recipe, np.arange(count)).systems, recipe.detector)


# A ray that meets the centre of a lens exactly ends where rounding sends it: half a core is 5e-11 arcsec.
PLACED = ("main_lens.center_x=0.0131", "main_lens.center_y=-0.0072")
LENSES = st.sampled_from(
    [
        "{theta_E: {kind: uniform, low: 0.5, high: 1.2}, e1: {kind: uniform, low: -0.5, high: 0.5}}",
        "{theta_E: 0.9, e2: 0.2}",
        "{theta_E: 0.9}",
        "{kind: EPL, theta_E: 0.9, gamma: {kind: uniform, low: 1.5, high: 2.5}, e1: 0.3, e2: -0.2}",
    ]
)
EXTRAS = st.lists(st.sampled_from([LENS_LIGHT, HALOS, CONTINUOUS, MULTIPOLE]), unique=True)
INDICES = st.sampled_from(
    [
        "1",
        "{kind: uniform, low: 0.3, high: 1}",
        "{kind: uniform, low: 1, high: 4}",
        "{kind: uniform, low: 4, high: 8}",
    ]
)
SOURCE = (
    "source={magnitude: 20, R_sersic: {kind: uniform, low: 0.1, high: 0.5}, n_sersic: %s,"
    " e1: {kind: uniform, low: -0.4, high: 0.4}, center_x: {kind: uniform, low: -0.3, high: 0.3}}"
)
SEEDS = st.integers(0, 2**53 - 1)


def with_instrument(recipe: DatasetRecipe, instrument: Document) -> DatasetRecipe:
    return recipe.model_copy(update={"instrument": Detector.model_validate_json(json.dumps(instrument))})


@given(
    seed=SEEDS,
    lens=LENSES,
    extras=EXTRAS,
    index=INDICES,
    instrument=instruments(most_pix=24, scales=(0.05, 0.3)),
    points=st.sampled_from([2, 3, 32, 100]),
)
@settings(max_examples=40, deadline=None, derandomize=True)
def test_any_recipe_is_as_lenstronomy_has_it(
    seed: int, lens: str, extras: list[str], index: str, instrument: Document, points: int
) -> None:
    chain = f"classes.vortex.substructure.points={points}"
    lens, source = f"main_lens={lens}", SOURCE % index
    recipe = load_recipe("tiny", [f"seed={seed}", lens, *PLACED, source, chain, *extras])
    recipe = with_instrument(recipe, instrument)
    assert_alike(draw(recipe, np.arange(3)).systems, recipe.detector)


@given(seed=SEEDS, name=st.sampled_from(complete()), instrument=instruments(20, (0.1, 0.3)))
@settings(max_examples=15, deadline=None, derandomize=True)
def test_shipped_recipes_with_any_instrument(seed: int, name: str, instrument: Document) -> None:
    recipe = with_instrument(load_recipe(name, [f"seed={seed}", *PLACED]), instrument)
    assert_alike(draw(recipe, np.arange(3)).systems, recipe.detector)


@pytest.mark.parametrize("supersampling", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("num_pix", [8, 9, 21])
@pytest.mark.parametrize("kind", ["none", "gaussian", "narrow", "wide", "kernel", "fine kernel"])
def test_instruments(kind: str, num_pix: int, supersampling: int) -> None:
    """Also with a PSF that is wider than the image, and one that is narrower than a sub-pixel."""
    psf = {
        "none": NoPSF(),
        "gaussian": GaussianPSF(fwhm_arcsec=0.3),
        "narrow": GaussianPSF(fwhm_arcsec=0.01),
        "wide": GaussianPSF(fwhm_arcsec=5.0, truncate=3),
        "kernel": KernelPSF(values=UNEVEN),
        "fine kernel": KernelPSF(values=UNEVEN, sampling=supersampling),
    }[kind]
    detector = Detector(num_pix=num_pix, pixel_scale_arcsec=0.13, psf=psf, supersampling=supersampling)
    assert_alike(systems_of(range(3), *PLACED), detector)


def with_sources(systems: LensBatch, *shifts: float) -> LensBatch:
    (source,) = systems.source
    others = [
        Light(
            source.profile, source.owner, source.parameters | {"center_x": source.parameters["center_x"] + s}
        )
        for s in shifts
    ]
    return LensBatch(systems.rows, systems.deflectors, (source, *others), systems.lens_light)


def test_several_sources_and_lens_lights() -> None:
    systems = with_sources(systems_of(range(6), LENS_LIGHT), 0.3, -0.2)
    (light,) = systems.lens_light
    fewer = light.subset(np.array([1, 4]), light.offsets(6)).taken(np.array([1, 4]), np.arange(2))
    two = LensBatch(6, systems.deflectors, systems.source, (light, fewer))
    assert_alike(two, SMALL)


def test_no_light_is_a_dark_sky() -> None:
    systems = systems_of(range(3))
    for psf in PSFS:
        detector = SMALL.model_copy(update={"psf": psf, "supersampling": 2})
        images = ENGINES["fused"](LensBatch(3, systems.deflectors, ()), detector)
        assert images.shape == (3, 12, 12)
        assert not images.any()


def test_no_lens_leaves_the_source_as_it_is() -> None:
    assert_alike(LensBatch(3, (), systems_of(range(3)).source), SMALL)


def test_profiles_of_one_kind_may_come_in_several_groups() -> None:
    systems = systems_of(range(4), EPL)
    lens = systems.deflectors[0]
    second = Deflectors("EPL", np.array([1, 3]), {n: v[[1, 3]] * 0.9 for n, v in lens.parameters.items()})
    points = [
        Deflectors(
            "POINT_MASS", np.array([owner]), {"theta_E": np.array([0.2]), "center_x": x, "center_y": x}
        )
        for owner, x in ((2, np.array([0.3])), (0, np.array([-0.41])))
    ]
    both = LensBatch(4, (*systems.deflectors, second, *points), systems.source)
    assert_alike(both, SMALL)
    without = ENGINES["fused"](LensBatch(4, systems.deflectors, systems.source), SMALL)
    assert (np.abs(ENGINES["fused"](both, SMALL) - without).max(axis=(1, 2)) > 1e-3).all()


# -- halos and their table


def test_truncated_halos_by_the_table_and_by_the_formula() -> None:
    systems = systems_of(range(1, 60, 3), HALOS)
    assert profiles(systems) == {"SIE", "SHEAR", "TNFW"}
    table, formula = (deviations(systems, SMALL, engine) for engine in ("fused", "fused_exact"))
    assert 1e-12 < table.max() < 1e-6
    assert formula.max() < 1e-10


def test_halos_that_the_table_does_not_hold() -> None:
    systems = systems_of(range(1, 30, 3), WIDE_HALOS)
    group = next(group for group in systems.deflectors if group.profile == "TNFW")
    tau = group.parameters["r_trunc"] / group.parameters["Rs"]
    assert (tau < tnfw.LOWEST_TAU).any()
    assert (tau > tnfw.LOWEST_TAU).any()
    assert_alike(systems, SMALL)


def test_tiny_halos_in_a_wide_field() -> None:
    """The field reaches beyond the table's largest radius."""
    systems = systems_of(
        range(1, 12, 3), HALOS.replace("low: 5, high: 30", "low: 800, high: 1000"),
        "classes.cdm.substructure.mass_msun={kind: log_uniform, low: 1, high: 1e6}",
    )  # fmt: skip
    group = next(group for group in systems.deflectors if group.profile == "TNFW")
    assert group.parameters["Rs"].min() < 1e-5
    assert_alike(systems, SMALL)


def test_more_halos_than_the_table_has_room_for() -> None:
    many = tnfw.MOST_TABULATED + 60
    systems = systems_of(
        [1], HALOS, f"classes.cdm.substructure.count={many}", "classes.cdm.substructure.mass_msun=1e7"
    )
    detector = Detector(num_pix=8, pixel_scale_arcsec=0.3, psf=NoPSF())
    table, formula = (ENGINES[engine](systems, detector) for engine in ("fused", "fused_exact"))
    assert 0 < np.abs(table - formula).max() < 1e-5 * formula.max()


# -- rows without a kernel


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How many images each way made."""
    made = {"kernels": 0, "lenstronomy": 0}
    kernel, slow = fused.kernels.render, fused.render_with_lenstronomy

    def render(*arguments: Any) -> None:
        made["kernels"] += len(arguments[-1])
        kernel(*arguments)

    def render_slowly(systems: LensBatch, detector: Detector) -> Array:
        made["lenstronomy"] += systems.rows
        return slow(systems, detector)

    monkeypatch.setattr(fused.kernels, "render", render)
    monkeypatch.setattr(fused, "render_with_lenstronomy", render_slowly)
    return made


def mixed(rows: int, special: Callable[[LensBatch], LensBatch], chosen: Sequence[int]) -> LensBatch:
    """A batch of which some rows are changed."""
    plain = systems_of(range(rows))
    changed, rest = np.array(chosen), np.setdiff1d(np.arange(rows), chosen)
    parts = [(rest, plain.subset(rest)), (changed, special(plain.subset(changed)))]
    sources = [
        Light(group.profile, where[group.owner], group.parameters)
        for where, part in parts
        for group in part.source
    ]
    return LensBatch(
        rows, merge([(where, group) for where, part in parts for group in part.deflectors]), tuple(sources)
    )


def with_multipole(systems: LensBatch) -> LensBatch:
    ones = np.ones(systems.rows)
    numbers = {"m": 4.0, "a_m": 0.02, "phi_m": 0.3, "center_x": 0.0, "center_y": 0.0, "r_E": 1.0}
    multipole = Deflectors(
        "MULTIPOLE", np.arange(systems.rows), {name: value * ones for name, value in numbers.items()}
    )
    return LensBatch(systems.rows, (*systems.deflectors, multipole), systems.source)


def with_round_sources(systems: LensBatch) -> LensBatch:
    (source,) = systems.source
    numbers = {name: values for name, values in source.parameters.items() if name not in ("e1", "e2")}
    each = [
        Light("SERSIC", np.array([row]), {name: values[[row]] for name, values in numbers.items()})
        for row in range(systems.rows)
    ]
    return LensBatch(systems.rows, systems.deflectors, tuple(each))


@pytest.mark.parametrize("special", [with_multipole, with_round_sources])
@pytest.mark.parametrize("psf", PSFS[:3], ids=lambda psf: psf.kind)
def test_only_rows_without_a_kernel_go_through_lenstronomy(
    counted: dict[str, int], special: Callable[[LensBatch], LensBatch], psf: Any
) -> None:
    detector = SMALL.model_copy(update={"psf": psf})
    systems = mixed(9, special, [2, 3, 7])
    images = ENGINES["fused"](systems, detector)
    assert counted == {"kernels": 6, "lenstronomy": 3}
    reference = ENGINES["lenstronomy"](systems, detector)
    assert np.abs(images - reference).max() < 1e-12 * reference.max()
    assert (images[[2, 3, 7]] == reference[[2, 3, 7]]).all()


def test_a_batch_of_rows_without_a_kernel(counted: dict[str, int]) -> None:
    systems = with_multipole(systems_of(range(3)))
    images = ENGINES["fused"](systems, SMALL)
    assert counted == {"kernels": 0, "lenstronomy": 3}
    assert images.tobytes() == ENGINES["lenstronomy"](systems, SMALL).tobytes()


def test_what_has_no_kernel_is_named_with_its_rows() -> None:
    found = fused.without_kernel(mixed(9, with_round_sources, [2, 3, 7]))
    assert {name: rows.tolist() for name, rows in found.items()} == {"SERSIC": [2, 3, 7]}
    assert fused.without_kernel(systems_of(range(3), EPL, LENS_LIGHT, HALOS, CONTINUOUS)) == {}


def test_a_light_is_no_mass_and_a_mass_no_light() -> None:
    """Else it would be left out without a word."""
    numbers = {"theta_E": np.array([1.0])}
    systems = LensBatch(1, (Deflectors("SERSIC_ELLIPSE", np.array([0]), numbers),), ())
    assert set(fused.without_kernel(systems)) == {"SERSIC_ELLIPSE"}
    light = LensBatch(1, (), (Light("SIE", np.array([0]), numbers),))
    assert set(fused.without_kernel(light)) == {"SIE"}


@pytest.mark.parametrize("engine", ENGINES)
def test_a_profile_that_nobody_knows_is_named(engine: str) -> None:
    numbers = {"theta_E": np.array([1.0])}
    with pytest.raises(ValueError, match="WORMHOLE"):
        ENGINES[engine](LensBatch(1, (Deflectors("WORMHOLE", np.array([0]), numbers),), ()), SMALL)
    with pytest.raises(ValueError, match="WORMHOLE"):
        ENGINES[engine](LensBatch(1, (), (Light("WORMHOLE", np.array([0]), numbers),)), SMALL)


# -- what an image does not depend on


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("psf", PSFS[:3], ids=lambda psf: psf.kind)
def test_no_systems_have_no_images(engine: str, psf: Any) -> None:
    detector = SMALL.model_copy(update={"psf": psf})
    for systems in (LensBatch(0, (), ()), systems_of(range(3), *RICH).subset(np.arange(0))):
        assert ENGINES[engine](systems, detector).shape == (0, 12, 12)


ROWS = 21
BATCHES = {
    "halos": systems_of(range(ROWS), HALOS),
    "halos in and beyond the table": systems_of(range(ROWS), WIDE_HALOS),
    "rich": systems_of(range(ROWS), EPL, LENS_LIGHT, HALOS, CONTINUOUS),
    "multipole": mixed(ROWS, with_multipole, [1, 2, 9, 20]),
}


@given(rows=st.lists(st.integers(0, ROWS - 1), min_size=1, max_size=11))
@settings(max_examples=6, deadline=None, derandomize=True)
@pytest.mark.parametrize("engine", FUSED)
@pytest.mark.parametrize("psf", PSFS, ids=["none", "gaussian", "kernel", "fine kernel"])
@pytest.mark.parametrize("name", BATCHES)
def test_an_image_does_not_depend_on_its_batch(name: str, psf: Any, engine: str, rows: list[int]) -> None:
    detector = Detector(num_pix=9, pixel_scale_arcsec=0.3, psf=psf, supersampling=2)
    systems = BATCHES[name]
    whole = WHOLE.setdefault((name, psf, engine), ENGINES[engine](systems, detector))
    part = ENGINES[engine](systems.subset(np.array(rows)), detector)
    assert part.tobytes() == whole[rows].tobytes()


WHOLE: dict[Any, Array] = {}


@pytest.mark.parametrize("psf", PSFS[1:3], ids=lambda psf: psf.kind)
def test_threads_do_not_disturb_each_other(psf: Any) -> None:
    """Kernels let other threads run, so buffers must be their own."""
    detector = Detector(num_pix=24, pixel_scale_arcsec=0.12, psf=psf, supersampling=2)
    batches = [BATCHES["rich"], BATCHES["halos"]] * 6
    expected = [ENGINES["fused"](systems, detector).tobytes() for systems in batches[:2]] * 6
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda systems: ENGINES["fused"](systems, detector).tobytes(), batches))
    assert found == expected
