"""Components of later recipes: what may be said, what is refused, and what old recipes keep."""

import json
import math
from typing import Any

import pytest

from schemas.columns import columns_of
from schemas.dataset import DatasetRecipe
from schemas.errors import RecipeError
from schemas.instrument import LARGEST_KERNEL
from schemas.substructure import PointMass, TruncatedNFW

LIGHT = "lens_light={magnitude: 19, R_sersic: 0.4, n_sersic: 3}"
HALO = "classes.cdm.substructure.profile={kind: TNFW, concentration: 10, truncation: 5}"
VORTEX = (
    "classes.cdm.substructure={kind: vortex, points: %s, mass_msun: 1e10, axion_mass_ev: 1e-22,"
    " half_length_at_1e22_arcsec: 0.03}"
)
COLD = "classes.cdm.substructure={kind: cold, %s}"
WARM = (
    "classes.cdm.substructure={kind: warm, f_sub: 0.01,"
    " half_mode_mass_msun: {kind: log_uniform, low: 1e7, high: 1e9}}"
)
SIDM = "classes.cdm.substructure={kind: self_interacting, f_sub: 0.01, cross_section_cm2_g: 1}"
VORTICES = "classes.cdm.substructure={kind: vortices, mass_msun: 1e10, %s}"


def kernel(values: Any, sampling: int = 1) -> str:
    return f"instrument.psf={{kind: kernel, values: {json.dumps(values)}, sampling: {sampling}}}"


POINT = [[0, 0, 0], [0, 1, 0], [0, 0, 0]]

ACCEPTED = [
    "main_lens={kind: EPL, theta_E: 1, gamma: 2.1}",
    "main_lens={theta_E: 1}",
    "multipole={m: 3, a_m: -0.02}",
    LIGHT,
    HALO,
    VORTEX % "continuous",
    kernel(POINT),
    kernel([[1]]),
    COLD % "f_sub: {kind: log_uniform, low: 0.005, high: 0.1}",
    COLD % "f_sub: 0.01, profile: POINT_MASS, r_max_theta_E: 2",
    COLD % "f_sub: 0.01, profile: {kind: TNFW, concentration: {kind: dutton_maccio, scatter_dex: 0.1}}",
    WARM,
    SIDM,
    VORTICES % "axion_mass_ev: 1e-23",
    VORTICES % "half_length_theta_E: 0.5, count: 3, points: 50",
    "compensate_mass=true",
]


@pytest.mark.parametrize("said", ACCEPTED)
def test_what_may_be_said_survives_json_with_its_digest(read: Any, small_text: str, said: str) -> None:
    recipe = read(small_text, [said])
    again = DatasetRecipe.model_validate_json(recipe.to_json())
    assert again == recipe
    assert hash(again) == hash(recipe)
    assert again.digest == recipe.digest
    assert read(json.dumps(recipe.model_dump(mode="json"))) == recipe


@pytest.mark.parametrize("said", [one for one in ACCEPTED if not one.startswith("main_lens={theta_E")])
def test_what_is_said_changes_the_digest(read: Any, small_text: str, said: str) -> None:
    assert read(small_text, [said]).digest != read(small_text).digest


REFUSED: dict[str, tuple[str, list[str]]] = {
    "too shallow": ("main_lens={kind: EPL, theta_E: 1, gamma: 1.2}", ["main_lens.gamma", "> 1.2, < 2.8"]),
    "too steep": ("main_lens={kind: EPL, theta_E: 1, gamma: 2.8}", ["main_lens.gamma", "> 1.2, < 2.8"]),
    "an unbounded slope": (
        "main_lens={kind: EPL, theta_E: 1, gamma: {kind: normal, mean: 2, sigma: 0.1}}",
        ["main_lens.gamma", "-inf to inf"],
    ),
    "a power law without slope": ("main_lens={kind: EPL, theta_E: 1}", ["main_lens.gamma: missing"]),
    "a slope without power law": ("main_lens={theta_E: 1, gamma: 2}", ["main_lens.gamma: unknown key"]),
    "an unknown lens": ("main_lens={kind: NFW, theta_E: 1}", ["main_lens", "'NFW'", "'SIE', 'EPL'"]),
    "too flat": ("main_lens={kind: EPL, theta_E: 1, gamma: 2, e1: 0.8, e2: 0.8}", ["sqrt(e1^2 + e2^2)"]),
    "another order": ("multipole={m: 5, a_m: 0.1}", ["multipole.m", "3 or 4", "found 5"]),
    "no order": ("multipole={a_m: 0.1}", ["multipole.m: missing"]),
    "too strong": ("multipole={m: 3, a_m: 2}", ["multipole.a_m", ">= -1, <= 1"]),
    "more than half a turn": ("multipole={m: 3, a_m: 0.1, phi_m: 4}", ["multipole.phi_m", "rad"]),
    "light without brightness": ("lens_light={R_sersic: 0.4, n_sersic: 3}", ["exactly one of magnitude"]),
    "light of no size": (LIGHT.replace("0.4", "0"), ["lens_light.R_sersic", "> 0"]),
    "an unknown profile": ("classes.cdm.substructure.profile={kind: NFW}", ["profile", "'NFW'", "'TNFW'"]),
    "a halo without shape": (
        "classes.cdm.substructure.profile=TNFW",
        ["profile", "'TNFW' alone is no profile", "concentration: ..., truncation: ..."],
    ),
    "a halo of no concentration": (HALO.replace("10", "0"), ["profile.concentration", "> 0"]),
    "a halo cut to nothing": (HALO.replace("5", "0"), ["profile.truncation", "> 0"]),
    "a shape for a point": (
        "classes.cdm.substructure.profile={kind: POINT_MASS, concentration: 3}",
        ["profile.concentration: unknown key"],
    ),
    "a line of one point": (VORTEX % 1, ["points", "greater than or equal to 2"]),
    "a line of another sort": (VORTEX % "dotted", ["points", "'continuous'", "dotted"]),
    "an even kernel": (kernel([[0.25, 0.25], [0.25, 0.25]]), ["psf.values", "2 pixels a side", "odd"]),
    "no kernel": (kernel([]), ["psf.values", "0 pixels a side"]),
    "a ragged kernel": (kernel([[0, 0, 0], [0, 1], [0, 0, 0]]), ["3 rows and row 1 has 2 values", "square"]),
    "a negative kernel": (kernel([[-1, 0, 0], [0, 2, 0], [0, 0, 0]]), ["-1.0 at row 0, column 0", ">= 0"]),
    "a kernel of another sum": (kernel([[0.9]]), ["sums to 0.9", "divide it by its sum"]),
    "a kernel that is almost normal": (kernel([[1.000002]]), ["sums to 1.000002"]),
    "a kernel that is not finite": (
        "instrument.psf={kind: kernel, values: [[.nan]]}",
        ["instrument.psf.values.0.0 is nan"],
    ),
    "a kernel of words": (kernel([["x"]]), ["psf.values.0.0", "number"]),
    "a kernel on no grid": (kernel(POINT, 2), ["psf.sampling is 2", "supersampling, which is 1", "set"]),
    "a kernel's file on no grid": (
        "instrument.psf={kind: kernel_file, path: psf.npy, sampling: 3}",
        ["psf.sampling is 3", "set supersampling to 3"],
    ),
    "a sampling of nothing": (kernel(POINT, 0), ["psf.sampling", "greater than or equal to 1"]),
    "a path of nothing": ("instrument.psf={kind: kernel_file, path: ''}", ["psf.path"]),
    "all mass in subhalos": (COLD % "f_sub: 1", ["substructure.f_sub", ">= 0, < 1"]),
    "negative subhalos": (COLD % "f_sub: -0.1", ["substructure.f_sub", ">= 0, < 1"]),
    "masses the wrong way round": (
        COLD % "f_sub: 0.01, mass_msun: {slope: -1.9, low: 1e10, high: 1e7}",
        ["substructure.mass_msun", "must be below high"],
    ),
    "a mass function of another form": (
        COLD % "f_sub: 0.01, mass_msun: {kind: uniform, low: 1e7, high: 1e10}",
        ["substructure.mass_msun", "'power_law'"],
    ),
    "an f_sub the wrong way round": (
        COLD % "f_sub: {kind: log_uniform, low: 0.1, high: 0.01}",
        ["substructure.f_sub", "must be below high"],
    ),
    "subhalos nowhere": (COLD % "f_sub: 0.01, r_max_theta_E: 0", ["r_max_theta_E", "greater than 0"]),
    "an unknown relation": (
        COLD % "f_sub: 0.01, profile: {kind: TNFW, concentration: {kind: duffy}}",
        ["profile.concentration", "'duffy'", "'dutton_maccio'"],
    ),
    "a source before the lens": ("redshifts={z_lens: 0.5, z_source: 0.5}", ["must lie behind"]),
    "warm without half-mode mass": (
        "classes.cdm.substructure={kind: warm, f_sub: 0.01}",
        ["substructure.half_mode_mass_msun: missing"],
    ),
    "no cross section": (
        "classes.cdm.substructure={kind: self_interacting, f_sub: 0.01, cross_section_cm2_g: 0}",
        ["cross_section_cm2_g", "> 0"],
    ),
    "cores in points": (
        "classes.cdm.substructure={kind: self_interacting, f_sub: 0.01, cross_section_cm2_g: 1,"
        " profile: {kind: POINT_MASS}}",
        ["substructure.profile.kind", "'TNFW'"],
    ),
    "vortices of two lengths": (
        VORTICES % "axion_mass_ev: 1e-23, half_length_theta_E: 1",
        ["exactly one of axion_mass_ev and half_length_theta_E"],
    ),
    "vortices of no length": (VORTICES % "count: 1", ["exactly one of axion_mass_ev"]),
    "no vortex": (VORTICES % "axion_mass_ev: 1e-23, count: 0", ["count", "greater than or equal to 1"]),
    "an unknown engine": ("engine=fast", ["engine", "'fused'", "'lenstronomy'", "fast"]),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_what_makes_no_sense_is_refused_by_name(read: Any, small_text: str, fault: str) -> None:
    said, expected = REFUSED[fault]
    with pytest.raises(RecipeError) as caught:
        read(small_text, [said])
    for words in expected:
        assert words in str(caught.value)
    assert "--set" in str(caught.value)


def test_a_kernel_that_is_too_large_is_refused(read: Any, small_text: str) -> None:
    side = LARGEST_KERNEL + 2
    values = [[0.0] * side] * side
    recipe = json.loads(json.dumps(read(small_text).model_dump(mode="json")))
    recipe["instrument"]["psf"] = {"kind": "kernel", "values": values}
    with pytest.raises(ValueError, match=f"{side} pixels a side"):
        DatasetRecipe.model_validate_json(json.dumps(recipe))


def test_halos_need_the_right_distances(read: Any, small_text: str) -> None:
    with pytest.raises(RecipeError) as caught:
        read(small_text, [HALO, "mass_conversion.kind=luminosity_shortcut"])
    assert "class 'cdm' has TNFW subhalos" in str(caught.value)
    assert "use angular_diameter" in str(caught.value)


@pytest.mark.parametrize("spelling", ["POINT_MASS", "{kind: POINT_MASS}"])
def test_a_point_mass_is_a_bare_word(read: Any, small_text: str, spelling: str) -> None:
    recipe = read(small_text, [f"classes.cdm.substructure.profile={spelling}"])
    assert recipe.classes[1].substructure.profile == PointMass()
    assert '"profile":"POINT_MASS"' in recipe.physics_json
    assert recipe.digest == read(small_text).digest


def test_a_halo_keeps_its_priors(read: Any, small_text: str) -> None:
    profile = read(small_text, [HALO]).classes[1].substructure.profile
    assert isinstance(profile, TruncatedNFW)
    assert profile.concentration.support == (10, 10)


@pytest.mark.parametrize("name", ["multipole", "lens_light"])
def test_optional_components_that_are_left_out_are_not_in_the_digest(
    read: Any, small_text: str, name: str
) -> None:
    assert name not in read(small_text).physics_json
    assert read(small_text, [f"{name}=null"]).digest == read(small_text).digest


@pytest.mark.parametrize("sampling", [1, 3])
def test_a_kernel_may_be_on_either_grid(read: Any, small_text: str, sampling: int) -> None:
    recipe = read(small_text, ["instrument.supersampling=3", kernel(POINT, sampling)])
    assert recipe.detector.psf_on_fine_grid == (sampling == 3)


@pytest.mark.parametrize(("supersampling", "fine"), [(1, False), (3, True)])
def test_a_gaussian_is_on_the_finest_grid(read: Any, small_text: str, supersampling: int, fine: bool) -> None:
    assert read(small_text, [f"instrument.supersampling={supersampling}"]).detector.psf_on_fine_grid == fine


def test_a_recipe_that_names_a_file_has_no_digest_yet(read: Any, small_text: str) -> None:
    recipe = read(small_text, ["instrument.psf={kind: kernel_file, path: psf.npy}"])
    with pytest.raises(TypeError, match="still names a kernel's file"):
        _ = recipe.digest


@pytest.mark.parametrize("engine", ["fused", "fused_exact", "fused_float32", "lenstronomy"])
def test_the_engine_is_not_part_of_the_digest(read: Any, small_text: str, engine: str) -> None:
    assert read(small_text, [f"engine={engine}"]).digest == read(small_text).digest


def test_columns_of_recipes_with_new_components_have_bounds(read: Any, small_text: str) -> None:
    recipe = read(small_text, ["multipole={m: 4, a_m: 0.01, phi_m: 1}", LIGHT])
    bounds = {column.name: column.quantity for column in columns_of(recipe)}
    assert bounds["multipole_phi_m"].le == math.pi
    assert bounds["lens_light_R_sersic"].gt == 0


@pytest.mark.parametrize(
    "shortcut",
    [
        "mass_conversion.kind=luminosity_shortcut",
        "deflection_convention={z_source_convention: 2.5, cosmology: {}}",
    ],
)
def test_vortices_need_the_right_distances(read: Any, small_text: str, shortcut: str) -> None:
    with pytest.raises(RecipeError, match="has vortices, whose length follows"):
        read(small_text, [VORTICES % "axion_mass_ev: 1e-23", shortcut])


def test_cores_need_the_right_distances(read: Any, small_text: str) -> None:
    with pytest.raises(RecipeError, match="has TNFW subhalos"):
        read(small_text, [SIDM, "mass_conversion.kind=luminosity_shortcut"])


@pytest.mark.parametrize(("family", "compensates"), [("survey", True), ("replica", False)])
def test_surveys_compensate_mass_unless_told_otherwise(
    read: Any, small_text: str, family: str, compensates: bool
) -> None:
    silent = small_text.replace("compensate_mass: false\n", "").replace("survey", family)
    assert read(silent).compensate_mass == compensates
    assert read(silent, ["compensate_mass=false"]).digest == read(small_text).digest
    assert (read(silent).digest == read(small_text).digest) == (not compensates)
    assert ("compensate_mass" in read(silent).physics_json) == compensates


def test_only_compensation_makes_a_derived_column(read: Any, small_text: str) -> None:
    names = [
        [
            column.name
            for column in columns_of(read(small_text, [f"compensate_mass={said}"]))
            if column.derived
        ]
        for said in ("true", "false")
    ]
    assert names == [["theta_E_smooth"], []]
