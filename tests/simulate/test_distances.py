"""Distances, masses and Einstein radii."""

import astropy.units as u
import numpy as np
import pytest
from astropy import constants
from astropy.cosmology import FlatLambdaCDM

from schemas.cosmology import Cosmology, DeflectionConvention, MassConversion
from simulate.cosmology import FOUR_G_MSUN_MPC, comoving_distance, deflection_scale, einstein_radius

COSMOLOGY = Cosmology(H0=70.0, Om0=0.3)
RIGHT = MassConversion(kind="angular_diameter")
SHORTCUT = MassConversion(kind="luminosity_shortcut")
# astropy 8 renamed the method that every astropy we support has
RENAMED = pytest.mark.filterwarnings("ignore:Use ``angular_diameter_distance.z1, z2.`` instead")
MODEL_II = DeflectionConvention(z_source_convention=2.5, cosmology=Cosmology(H0=67.5, Om0=0.309))


def radius(mass: float, conversion: MassConversion, z_lens: float = 0.5, z_source: float = 1.0) -> float:
    return float(
        einstein_radius(np.array([mass]), COSMOLOGY, conversion, np.array([z_lens]), np.array([z_source]))[0]
    )


def test_the_constant_is_that_of_astropy() -> None:
    expected = (4 * constants.G * constants.M_sun / constants.c**2).to_value(u.Mpc)
    assert pytest.approx(expected, rel=1e-13) == FOUR_G_MSUN_MPC


@pytest.mark.parametrize(("mass", "expected"), [(3e8, 0.022196067725334362), (1e12, 1.2814905676172959)])
def test_the_shortcut_gives_the_published_radii(mass: float, expected: float) -> None:
    assert radius(mass, SHORTCUT) == pytest.approx(expected, rel=1e-13)


def test_right_distances_give_the_textbook_radius() -> None:
    assert radius(1e12, RIGHT) == pytest.approx(1.6645, abs=5e-5)


@RENAMED
@pytest.mark.parametrize(("z_lens", "z_source"), [(0.5, 1.0), (0.2, 2.5), (0.9, 1.0), (0.05, 8.0)])
def test_radii_agree_with_astropy(z_lens: float, z_source: float) -> None:
    universe = FlatLambdaCDM(H0=70, Om0=0.3)
    d_lens, d_source = (universe.angular_diameter_distance(z) for z in (z_lens, z_source))
    between = universe.angular_diameter_distance_z1z2(z_lens, z_source)
    squared = 4 * constants.G * 3e9 * u.Msun / constants.c**2 * between / (d_lens * d_source)
    expected = np.sqrt(squared.to_value(u.dimensionless_unscaled)) * u.rad.to(u.arcsec)
    assert radius(3e9, RIGHT, z_lens, z_source) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("om0", [0.1, 0.2, 0.3, 0.309, 0.5, 0.7, 0.9, 0.999])
def test_comoving_distances_agree_with_astropy(om0: float) -> None:
    # nearer than 0.1 it is astropy's difference of two large numbers that is less exact
    z = np.linspace(0.1, 20, 2000)
    theirs = FlatLambdaCDM(H0=70, Om0=om0, Tcmb0=0).comoving_distance(z).to_value(u.Mpc)
    np.testing.assert_allclose(comoving_distance(Cosmology(H0=70.0, Om0=om0), z), theirs, rtol=1e-13)


def test_near_redshifts_follow_hubbles_law() -> None:
    z = np.array([0.0, 1e-12, 1e-9, 1e-6])
    distance = 299792.458 / 70 * z * (1 - 0.75 * 0.3 * z)
    np.testing.assert_allclose(comoving_distance(COSMOLOGY, z), distance, rtol=1e-11, atol=0)


@pytest.mark.parametrize("om0", [1e-6, 1e-4, 0.01, 0.05, 0.0999])
def test_nearly_empty_universes_have_distances_too(om0: float) -> None:
    z = np.array([0.5, 1.0, 5.0, 20.0])
    theirs = FlatLambdaCDM(H0=70, Om0=om0, Tcmb0=0).comoving_distance(z).to_value(u.Mpc)
    np.testing.assert_allclose(comoving_distance(Cosmology(H0=70.0, Om0=om0), z), theirs, rtol=1e-7)


def test_a_radius_grows_with_the_root_of_the_mass() -> None:
    assert radius(4e8, RIGHT) == pytest.approx(2 * radius(1e8, RIGHT), rel=1e-14)
    assert radius(0.0, RIGHT) == 0.0


def test_each_mass_uses_the_redshifts_of_its_own_system() -> None:
    z_lens, z_source = np.array([0.5, 0.3, 0.5, 0.3]), np.array([1.0, 2.0, 1.5, 2.0])
    together = einstein_radius(np.full(4, 1e9), COSMOLOGY, RIGHT, z_lens, z_source)
    apart = [radius(1e9, RIGHT, *pair) for pair in zip(z_lens, z_source, strict=True)]
    assert together.tolist() == apart


def test_the_deflection_scale_of_the_published_models() -> None:
    scale = deflection_scale(MODEL_II, np.array([0.5]), np.array([1.0]))
    assert scale[0] == pytest.approx(0.6334579710123899, rel=1e-14)


@RENAMED
def test_the_deflection_scale_agrees_with_astropy() -> None:
    universe = FlatLambdaCDM(H0=67.5, Om0=0.309, Ob0=0.049)

    def ratio(z_source: float) -> float:
        between = universe.angular_diameter_distance_z1z2(0.3, z_source)
        return float(between / universe.angular_diameter_distance(z_source))

    scale = deflection_scale(MODEL_II, np.array([0.3]), np.array([1.7]))
    assert scale[0] == pytest.approx(ratio(1.7) / ratio(2.5), rel=1e-12)


def test_no_convention_and_a_source_at_its_redshift_scale_nothing() -> None:
    assert deflection_scale(None, np.array([0.5]), np.array([1.0])).tolist() == [1.0]
    assert deflection_scale(MODEL_II, np.array([0.5]), np.array([2.5])).tolist() == [1.0]
