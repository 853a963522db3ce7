"""Subhalos as truncated NFW halos: from masses to what lenstronomy takes, and what is drawn."""

from typing import Any

import numpy as np
import pytest
from astropy import constants
from astropy.cosmology import FlatLambdaCDM
from lenstronomy.Cosmo.lens_cosmo import LensCosmo
from lenstronomy.Util import constants as const
from scipy import stats

from flows.catalogue import load_recipe
from schemas.cosmology import Cosmology, MassConversion
from simulate.draw import draw
from simulate.render import noise_free
from simulate.substructure.kinds import Surroundings

HALOS = (
    "classes.cdm.substructure.profile={kind: TNFW, concentration: {kind: log_uniform, low: 5, high: 30},"
    " truncation: {kind: uniform, low: 2, high: 20}}"
)
# lenstronomy's G and solar mass have five digits: 2.8e-4 more than the product, which is known to ten
ROUNDED_G_MSUN = const.G * const.M_sun / (constants.G * constants.M_sun).si.value
CDM = np.arange(600) * 3 + 1


def around(z_lens: float, z_source: float, cosmology: Cosmology) -> Surroundings:
    one = np.ones(1)
    return Surroundings(
        z_lens=z_lens * one,
        z_source=z_source * one,
        center_x=0 * one,
        center_y=0 * one,
        theta_E=one,
        slope=2 * one,
        ellipticity=0 * one,
        cosmology=cosmology,
        mass_conversion=MassConversion(kind="angular_diameter"),
    )


@pytest.mark.parametrize(("z_lens", "z_source"), [(0.5, 1.0), (0.2, 2.5), (0.9, 1.2)])
@pytest.mark.parametrize(("H0", "om0"), [(70.0, 0.3), (67.5, 0.7)])
def test_halos_are_lenstronomys(z_lens: float, z_source: float, H0: float, om0: float) -> None:
    mass, concentration = np.array([1e6, 1e8, 1e10, 1e13]), np.array([30.0, 15.0, 10.0, 4.0])
    surroundings = around(z_lens, z_source, Cosmology(H0=H0, Om0=om0))
    Rs, alpha_Rs = surroundings.nfw(mass, concentration, np.zeros(4, dtype=np.int64))
    lens_cosmo = LensCosmo(z_lens, z_source, FlatLambdaCDM(H0=H0, Om0=om0, Tcmb0=0))
    theirs = np.array(
        [lens_cosmo.nfw_physical2angle(*pair) for pair in zip(mass, concentration, strict=True)]
    )
    np.testing.assert_allclose(Rs, theirs[:, 0], rtol=1e-6)
    np.testing.assert_allclose(alpha_Rs * ROUNDED_G_MSUN, theirs[:, 1], rtol=1e-6)


def halos(*overrides: str) -> dict[str, np.ndarray]:
    groups = draw(load_recipe("tiny", [HALOS, *overrides]), CDM).systems.deflectors
    (group,) = (one for one in groups if one.profile == "TNFW")
    return group.parameters


def test_truncations_follow_their_prior() -> None:
    parameters = halos()
    ratio = parameters["r_trunc"] / parameters["Rs"]
    assert stats.kstest(ratio, stats.uniform(2, 18).cdf).pvalue > 1e-3


def test_concentrations_follow_their_prior() -> None:
    fixed = halos(
        "classes.cdm.substructure.profile.concentration=1", "classes.cdm.substructure.mass_msun=1e9"
    )
    drawn = halos("classes.cdm.substructure.mass_msun=1e9")
    assert stats.kstest(fixed["Rs"] / drawn["Rs"], stats.loguniform(5, 30).cdf).pvalue > 1e-3


def test_a_profile_changes_neither_masses_nor_places() -> None:
    """Of the first halo: those that follow come later in the stream."""
    points = load_recipe("tiny", ["classes.cdm.substructure.count=1"])
    extended = load_recipe("tiny", [HALOS, "classes.cdm.substructure.count=1"])
    one, other = (draw(recipe, CDM) for recipe in (points, extended))
    for name in ("subhalo_mass_msun", "subhalo_mass_max_msun", "theta_E"):
        np.testing.assert_array_equal(one.columns[name], other.columns[name])
    for name in ("center_x", "center_y"):
        first, second = (drawn.systems.deflectors[-1].parameters[name] for drawn in (one, other))
        np.testing.assert_array_equal(first, second)


def change(*overrides: str) -> Any:
    """How much one halo changes an image."""
    base = ["engine=lenstronomy", "classes.cdm.substructure.count=1", "redshifts.z_lens=0.5"]
    heavy, light = (
        noise_free(recipe, draw(recipe, CDM[:4]))
        for recipe in (
            load_recipe("tiny", [*base, *overrides, f"classes.cdm.substructure.mass_msun={mass}"])
            for mass in ("1e11", "1")
        )
    )
    return np.abs(heavy - light).max(axis=(1, 2)) / light.max()


def test_a_very_compact_halo_is_a_point_of_its_truncated_mass() -> None:
    compact = "classes.cdm.substructure.profile={kind: TNFW, concentration: 1000, truncation: 1000}"
    within = change(compact) / change()
    assert ((within > 0.7) & (within < 1.2)).all()


def test_extended_halos_change_an_image_less_than_points() -> None:
    extended = "classes.cdm.substructure.profile={kind: TNFW, concentration: 10, truncation: 5}"
    assert (change(extended) < change()).all()
