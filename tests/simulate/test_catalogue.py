"""Rows of the catalogue: what was drawn, in the units that it says, as the rays saw it."""

from dataclasses import replace

import numpy as np
import pytest
from astropy.cosmology import FlatLambdaCDM
from lenstronomy.LensModel.lens_model import LensModel

from flows.catalogue import load_recipe
from schemas.errors import RecipeError
from schemas.products import CATALOGUE
from simulate.batch import STRENGTHS, Deflectors
from simulate.catalogue import catalogue
from simulate.cosmology import ARCSEC_PER_RADIAN
from simulate.draw import draw
from simulate.render import render, subhalos_per_sample

MIXED = (
    "[{name: no_sub, label: 0, substructure: {kind: none}},"
    " {name: cdm, label: 1, substructure: {kind: cold, f_sub: 0.01}},"
    " {name: vortex, label: 2, substructure: {kind: vortices, count: 3, mass_msun: 1e10,"
    "  half_length_theta_E: 1}},"
    " {name: wdm, label: 3, substructure: {kind: warm, f_sub: 0.01, half_mode_mass_msun: 1e8}},"
    " {name: sidm, label: 4, substructure: {kind: self_interacting, f_sub: 0.01, cross_section_cm2_g: 5}}]"
)
RECIPE = load_recipe("tiny", [f"classes={MIXED}", "products=[convergence, deflection, subhalos]"])
IDS = np.arange(15)
DRAWN = draw(RECIPE, IDS)
TABLE = catalogue(RECIPE, DRAWN)


def of(sample: int) -> dict[str, np.ndarray]:
    return {name: values[TABLE["sample_id"] == sample] for name, values in TABLE.items()}


def test_it_has_the_columns_that_are_specified() -> None:
    assert list(TABLE) == [column.name for column in CATALOGUE]
    for column in CATALOGUE:
        assert TABLE[column.name].dtype == (object if column.dtype == "str" else column.dtype)


def test_every_class_has_its_profile() -> None:
    label, profile = TABLE["label"], TABLE["profile"]
    found = {int(one): set(profile[label == one]) for one in np.unique(label)}
    assert found == {1: {"TNFW"}, 2: {"LINE"}, 3: {"TNFW"}, 4: {"TNFWC"}}
    assert (TABLE["sample_id"] % 5 == label).all()
    assert (np.diff(TABLE["sample_id"]) >= 0).all()


@pytest.mark.parametrize("label", [1, 3, 4])
def test_masses_and_counts_add_up_to_the_columns(label: int) -> None:
    for sample in IDS[label == IDS % 5]:
        rows = of(sample)
        assert len(rows["mass_msun"]) == DRAWN.columns["subhalo_count"][sample]
        for name, column in (
            ("mass_msun", "subhalo_mass_msun"),
            ("bound_mass_msun", "subhalo_bound_mass_msun"),
        ):
            assert rows[name].sum() == pytest.approx(DRAWN.columns[column][sample], rel=1e-10)
        assert (rows["bound_mass_msun"] < rows["mass_msun"]).mean() > 0.5


def test_lines_share_their_mass() -> None:
    rows = of(2)
    np.testing.assert_allclose(rows["mass_msun"], 1e10 / 3)
    np.testing.assert_allclose(rows["bound_mass_msun"], 1e10 / 3)
    assert (rows["points"] == 0).all()


def test_parameters_are_those_of_the_profile_alone() -> None:
    named = {name for group in DRAWN.substructure for name in group.parameters}
    for group in DRAWN.substructure:
        rows = TABLE["profile"] == group.profile
        for name in named:
            assert np.isnan(TABLE[name][rows]).all() == (name not in group.parameters)
        # the same numbers, whatever order they are in
        for name, values in group.parameters.items():
            assert sorted(TABLE[name][rows]) == sorted(values)


@pytest.mark.parametrize("sample", [1, 3, 4])
def test_rows_make_the_deflection_of_the_sample(sample: int) -> None:
    """Row by row through lenstronomy, and the smooth lens beside."""
    rows = of(sample)
    numbers = []
    for k in range(len(rows["label"])):
        taken = {name: values[k] for name, values in rows.items() if name in LENS}
        numbers.append({name: value for name, value in taken.items() if not np.isnan(value)})
    detector = RECIPE.detector
    axis = (np.arange(detector.num_pix) - (detector.num_pix - 1) / 2) * detector.pixel_scale_arcsec
    x, y = (one.ravel() for one in np.meshgrid(axis, axis))
    added = np.array(LensModel(list(rows["profile"])).alpha(x, y, numbers))
    smooth = [g for g in DRAWN.systems.deflectors if g.profile in ("SIE", "SHEAR")]
    parameters = [{name: values[sample] for name, values in g.parameters.items()} for g in smooth]
    alone = np.array(LensModel([g.profile for g in smooth]).alpha(x, y, parameters))
    stored = render(RECIPE, np.array([sample])).maps["deflection"][0].reshape(2, -1)
    np.testing.assert_allclose(stored, alone + added, atol=2e-6)


LENS = {"center_x", "center_y", "Rs", "alpha_Rs", "r_trunc", "r_core"}


def test_bound_masses_are_what_the_convergence_adds_to() -> None:
    """Of lines inside the field, at the critical density of their redshifts."""
    recipe = load_recipe(
        "tiny",
        ["products=[convergence, subhalos]", "instrument.num_pix=64",
         "classes=[{name: vortex, label: 2, substructure: {kind: vortices, count: 3, mass_msun: 1e10,"
         " half_length_theta_E: 0.3}}]"],
    )  # fmt: skip
    found = render(recipe, np.arange(4))
    assert found.subhalos is not None
    drawn = draw(recipe, np.arange(4))
    cosmology = FlatLambdaCDM(H0=70, Om0=0.3)
    for row in range(4):
        z_lens, z_source = drawn.columns["z_lens"][row], drawn.columns["z_source"][row]
        lens, source = (cosmology.angular_diameter_distance(z).value for z in (z_lens, z_source))
        # a flat universe
        between = source - lens * (1 + z_lens) / (1 + z_source)
        # c^2 / (4 pi G) = 1.6629e18 Msun / Mpc
        critical = 1.66292e18 * source / (lens * between)
        area = (recipe.detector.pixel_scale_arcsec / ARCSEC_PER_RADIAN * lens) ** 2
        mass = found.maps["convergence"][row].sum(dtype=float) * area * critical
        rows = found.subhalos["sample_id"] == row
        assert mass == pytest.approx(found.subhalos["bound_mass_msun"][rows].sum(), rel=1e-4)


def test_a_convention_scales_parameters_and_not_masses() -> None:
    scaled, plain = (load_recipe("model_ii", overrides) for overrides in ([], ["deflection_convention=null"]))
    one, other = (catalogue(recipe, draw(recipe, np.arange(6))) for recipe in (scaled, plain))
    assert np.array_equal(one["mass_msun"], other["mass_msun"])
    np.testing.assert_allclose(one["bound_mass_msun"], one["mass_msun"], rtol=1e-10)
    np.testing.assert_allclose((one["theta_E"] / other["theta_E"]) ** 2, 0.633, atol=1e-3)
    # in the shortcut of that recipe, too, a mass is what it was drawn as
    drawn = draw(scaled, np.arange(6)).columns["subhalo_mass_msun"]
    assert one["mass_msun"][one["sample_id"] == 1].sum() == pytest.approx(drawn[1])


def test_blocks_do_not_matter() -> None:
    assert RECIPE.products[-1] == "subhalos"
    many = render(load_recipe("tiny", ["products=[subhalos]"]), np.arange(600)).subhalos
    alone = render(load_recipe("tiny", ["products=[subhalos]"]), np.arange(590, 600)).subhalos
    assert many is not None
    assert alone is not None
    later = many["sample_id"] >= 590
    for name, values in alone.items():
        np.testing.assert_array_equal(values, many[name][later])


def test_the_mean_number_of_rows() -> None:
    assert subhalos_per_sample(load_recipe("tiny")) == pytest.approx(11 / 3)


def test_every_parameter_of_a_known_profile_has_a_column() -> None:
    known = {column.name for column in CATALOGUE}
    for profile in STRENGTHS.keys() - {"SIE", "EPL", "SHEAR", "MULTIPOLE"}:
        assert set(STRENGTHS[profile]) <= known
    strange = Deflectors("POINT_MASS", np.zeros(1, np.int64), {"theta_E": np.ones(1), "spin": np.ones(1)})
    with pytest.raises(RecipeError, match="no column for spin of the profile POINT_MASS"):
        catalogue(RECIPE, replace(DRAWN, substructure=(strange,)))


def test_kinds_that_do_not_tell_masses_have_the_whole_one() -> None:
    (group,) = (g for g in DRAWN.substructure if g.profile == "LINE")
    untold = catalogue(RECIPE, replace(DRAWN, substructure=(replace(group, mass_msun=None),)))
    np.testing.assert_allclose(untold["mass_msun"], 1e10 / 3)
