"""Vortices of surveys: their length from the wavelength of the axion, their place, their mass."""

from typing import Any

import numpy as np
import pytest
from astropy import constants, units
from astropy.cosmology import FlatLambdaCDM
from scipy import stats

from schemas.cosmology import Cosmology, MassConversion
from schemas.priors import Fixed, LogUniform
from schemas.substructure import Vortices
from simulate.streams import PARAMETERS, Streams
from simulate.substructure import KINDS, Surroundings
from simulate.substructure.kinds import Draw

SYSTEMS = 2000
MASS = LogUniform(low=3e9, high=1e11)


def drawn(**said: Any) -> Draw:
    rng = np.random.default_rng(2)
    around = Surroundings(
        z_lens=rng.uniform(0.2, 0.9, SYSTEMS),
        z_source=rng.uniform(1.0, 2.5, SYSTEMS),
        center_x=np.full(SYSTEMS, 0.3),
        center_y=np.full(SYSTEMS, -0.1),
        theta_E=rng.uniform(0.8, 1.6, SYSTEMS),
        slope=np.full(SYSTEMS, 2.0),
        ellipticity=np.zeros(SYSTEMS),
        cosmology=Cosmology(),
        mass_conversion=MassConversion(),
    )
    drawn.around = around  # type: ignore[attr-defined]
    kind = Vortices(**{"mass_msun": MASS, **said})
    return KINDS["vortices"](kind, around, Streams(5, PARAMETERS, np.arange(SYSTEMS)))


BY_LENGTH = {"half_length_theta_E": LogUniform(low=0.1, high=1.5)}
BY_MASS = {"axion_mass_ev": LogUniform(low=3e-24, high=3e-23)}


@pytest.mark.parametrize("said", [BY_LENGTH, BY_MASS], ids=["length", "mass"])
def test_the_length_is_the_wavelength_at_the_lens(said: Any) -> None:
    """By astropy's constants and distances, for one system."""
    draw = drawn(**said)
    around: Surroundings = drawn.around  # type: ignore[attr-defined]
    cosmology = FlatLambdaCDM(70, 0.3, Tcmb0=0)
    for row in (0, 7, 99):
        z_lens, z_source = around.z_lens[row], around.z_source[row]
        ratio = 1 - cosmology.comoving_distance(z_lens) / cosmology.comoving_distance(z_source)
        theta_E = (around.theta_E[row] * units.arcsec).to_value(units.rad)
        speed = np.sqrt(theta_E / (4 * np.pi * ratio)) * constants.c
        axion = (draw.columns["axion_mass_ev"][row] * units.eV / constants.c**2).to(units.kg)
        wavelength = (constants.h / (axion * speed)).to(units.Mpc)
        angle = (wavelength / cosmology.angular_diameter_distance(z_lens)).value * units.rad
        expected = angle.to_value(units.arcsec) / 2
        assert draw.columns["vortex_half_length_arcsec"][row] == pytest.approx(expected, rel=1e-6)


def test_what_is_drawn_follows_its_prior() -> None:
    by_length, by_mass = drawn(**BY_LENGTH).columns, drawn(**BY_MASS).columns
    ratio = by_length["vortex_half_length_theta_E"]
    assert stats.kstest(ratio, stats.loguniform(0.1, 1.5).cdf).pvalue > 1e-3
    assert stats.kstest(by_mass["axion_mass_ev"], stats.loguniform(3e-24, 3e-23).cdf).pvalue > 1e-3
    assert stats.kstest(by_mass["vortex_mass_msun"], stats.loguniform(3e9, 1e11).cdf).pvalue > 1e-3


def test_a_drawn_axion_mass_tells_nothing_of_the_lens() -> None:
    axion = drawn(**BY_MASS).columns["axion_mass_ev"]
    around: Surroundings = drawn.around  # type: ignore[attr-defined]
    for other in (around.theta_E, around.z_lens, around.z_source):
        assert abs(stats.spearmanr(axion, other).statistic) < 0.08


def test_middles_are_uniform_in_the_disc_of_the_ring_and_directions_in_half_a_turn() -> None:
    columns = drawn(**BY_LENGTH).columns
    around: Surroundings = drawn.around  # type: ignore[attr-defined]
    x, y = columns["vortex_center_x"] - 0.3, columns["vortex_center_y"] + 0.1
    assert stats.kstest((np.hypot(x, y) / around.theta_E) ** 2, "uniform").pvalue > 1e-3
    assert stats.kstest(np.arctan2(y, x), stats.uniform(-np.pi, 2 * np.pi).cdf).pvalue > 1e-3
    assert stats.kstest(columns["vortex_angle_rad"], stats.uniform(0, np.pi).cdf).pvalue > 1e-3


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("points", ["continuous", 50])
def test_lines_share_the_mass(count: int, points: Any) -> None:
    draw = drawn(**BY_LENGTH, count=count, points=points)
    around: Surroundings = drawn.around  # type: ignore[attr-defined]
    (lines,) = draw.deflectors
    assert lines.profile == "LINE"
    assert np.bincount(lines.owner).tolist() == [count] * SYSTEMS
    assert set(lines.parameters["points"]) == {0.0 if points == "continuous" else 50.0}
    mass = np.bincount(lines.owner, lines.parameters["theta_E"] ** 2) / around.unit_einstein_radius**2
    np.testing.assert_allclose(mass, draw.columns["vortex_mass_msun"], rtol=1e-12)
    first = lines.parameters["angle"][::count]
    np.testing.assert_array_equal(first, draw.columns["vortex_angle_rad"])


def test_the_line_density_is_mass_over_length() -> None:
    columns = drawn(mass_msun=Fixed(value=1e10), **BY_LENGTH).columns
    around: Surroundings = drawn.around  # type: ignore[attr-defined]
    length = 2 * columns["vortex_half_length_arcsec"] / 206264.80624709636 * around.lens_distance_mpc * 1000
    np.testing.assert_allclose(columns["vortex_density_msun_kpc"] * length, 1e10, rtol=1e-12)
