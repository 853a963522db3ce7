"""What each substructure kind draws."""

from typing import Any, get_args

import numpy as np
import pytest
from scipy import stats

from flows.catalogue import load_recipe
from schemas.cosmology import Cosmology, MassConversion
from schemas.priors import LogUniform
from schemas.substructure import (
    ColdPopulation,
    SelfInteractingPopulation,
    Substructure,
    Vortices,
    WarmPopulation,
)
from simulate.cosmology import einstein_radius
from simulate.engines.line import split_lines
from simulate.streams import PARAMETERS, Streams
from simulate.substructure import KINDS, Surroundings
from simulate.substructure.kinds import Draw

SYSTEMS = 2000
RECIPE = load_recipe("model_ii")
F_SUB = LogUniform(low=0.005, high=0.1)
BY_KIND: dict[str, Any] = {one.substructure.kind: one.substructure for one in RECIPE.classes} | {
    "cold": ColdPopulation(f_sub=F_SUB),
    "warm": WarmPopulation(f_sub=F_SUB, half_mode_mass_msun=LogUniform(low=1e7, high=1e9)),
    "self_interacting": SelfInteractingPopulation(
        f_sub=F_SUB, cross_section_cm2_g=LogUniform(low=0.5, high=50.0)
    ),
    "vortices": Vortices(
        count=2,
        mass_msun=LogUniform(low=3e9, high=1e11),
        half_length_theta_E=LogUniform(low=0.1, high=1.5),
    ),
}


def drawn(kind: str) -> Draw:
    around = Surroundings(
        z_lens=np.full(SYSTEMS, 0.5),
        z_source=np.full(SYSTEMS, 1.0),
        center_x=np.zeros(SYSTEMS),
        center_y=np.zeros(SYSTEMS),
        theta_E=np.full(SYSTEMS, 1.2),
        slope=np.full(SYSTEMS, 2.0),
        ellipticity=np.zeros(SYSTEMS),
        cosmology=Cosmology(),
        mass_conversion=MassConversion(kind="luminosity_shortcut"),
    )
    return KINDS[kind](BY_KIND[kind], around, Streams(11, PARAMETERS, np.arange(SYSTEMS)))


def masses_of(theta_E: np.ndarray) -> np.ndarray:
    z = np.array([0.5]), np.array([1.0])
    unit = einstein_radius(np.array([1.0]), Cosmology(), MassConversion(kind="luminosity_shortcut"), *z)
    return (theta_E / unit) ** 2


@pytest.fixture(scope="module")
def subhalos() -> dict[str, np.ndarray]:
    (group,) = drawn("subhalos").deflectors
    x, y = group.parameters["center_x"], group.parameters["center_y"]
    return {"mass": masses_of(group.parameters["theta_E"]), "r": np.hypot(x, y), "angle": np.arctan2(x, y)}


def test_schema_kinds_and_registered_kinds_are_the_same() -> None:
    assert set(KINDS) == {kind.model_fields["kind"].default for kind in get_args(get_args(Substructure)[0])}


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_fills_exactly_the_columns_of_its_schema(kind: str) -> None:
    columns = drawn(kind).columns
    assert set(columns) == set(BY_KIND[kind].Columns.model_fields)
    assert all(np.isfinite(values).all() for values in columns.values())
    assert all(values.shape == (SYSTEMS,) for values in columns.values())


def test_no_substructure_adds_no_mass() -> None:
    assert drawn("none").deflectors == ()


def test_subhalo_masses_follow_the_mass_function(subhalos: dict[str, np.ndarray]) -> None:
    low, high = 1e6**0.1, 1e10**0.1
    assert stats.kstest(subhalos["mass"], lambda m: (m**0.1 - low) / (high - low)).pvalue > 1e-3
    counts, edges = np.histogram(np.log(subhalos["mass"]), np.log(np.logspace(6, 10, 13)))
    slope = np.polyfit((edges[1:] + edges[:-1]) / 2, np.log(counts), 1)[0]
    assert slope == pytest.approx(-0.9 + 1, abs=0.02)


def test_subhalo_radii_are_uniform_in_r(subhalos: dict[str, np.ndarray]) -> None:
    assert stats.kstest(subhalos["r"], stats.uniform(0.25, 1.75).cdf).pvalue > 1e-3


def test_subhalo_angles_are_uniform_all_around(subhalos: dict[str, np.ndarray]) -> None:
    assert stats.kstest(subhalos["angle"], stats.uniform(-np.pi, 2 * np.pi).cdf).pvalue > 1e-3


def test_mass_radius_and_angle_are_independent(subhalos: dict[str, np.ndarray]) -> None:
    correlation = stats.spearmanr(np.stack(list(subhalos.values()), axis=1)).statistic
    assert np.abs(correlation - np.eye(3)).max() < 0.03


def test_subhalo_columns_sum_up_their_masses(subhalos: dict[str, np.ndarray]) -> None:
    columns = drawn("subhalos").columns
    mass = subhalos["mass"].reshape(SYSTEMS, 25)
    assert set(columns["subhalo_count"]) == {25.0}
    np.testing.assert_allclose(columns["subhalo_mass_msun"], mass.sum(axis=1), rtol=1e-12)
    np.testing.assert_allclose(columns["subhalo_mass_max_msun"], mass.max(axis=1), rtol=1e-12)


def test_axion_masses_are_log_uniform() -> None:
    masses = drawn("vortex").columns["axion_mass_ev"]
    assert stats.kstest(masses, stats.loguniform(1e-24, 1e-22).cdf).pvalue > 1e-3


def test_vortex_angles_are_uniform_all_around() -> None:
    angle = drawn("vortex").columns["vortex_angle_rad"]
    assert stats.kstest(angle, stats.uniform(0, 2 * np.pi).cdf).pvalue > 1e-3


def test_the_half_length_of_a_vortex_is_inverse_to_the_axion_mass() -> None:
    columns = drawn("vortex").columns
    length = columns["vortex_half_length_arcsec"]
    np.testing.assert_allclose(length * columns["axion_mass_ev"], 0.03e-22, rtol=1e-12)
    assert length.min() >= 0.03 * (1 - 1e-12)
    assert length.max() <= 3 * (1 + 1e-12)


def test_a_vortex_is_a_straight_line_of_equal_masses_through_the_centre() -> None:
    vortex = drawn("vortex")
    (line,) = vortex.deflectors
    (group,) = split_lines(line)
    assert group.profile == "POINT_MASS"
    x, y, theta_E = (
        group.parameters[name].reshape(SYSTEMS, 100) for name in ("center_x", "center_y", "theta_E")
    )
    length, angle = (vortex.columns[n][:, None] for n in ("vortex_half_length_arcsec", "vortex_angle_rad"))
    along = np.linspace(-1, 1, 100) * length
    np.testing.assert_allclose(x, along * np.cos(angle), atol=1e-14)
    np.testing.assert_allclose(y, along * np.sin(angle), atol=1e-14)
    np.testing.assert_allclose(theta_E, 0.022196067725334362, rtol=1e-13)


@pytest.mark.parametrize("kind", sorted(set(BY_KIND) - {"none"}))
def test_deflectors_are_sorted_by_the_system_they_belong_to(kind: str) -> None:
    (group,) = drawn(kind).deflectors
    assert (np.diff(group.owner) >= 0).all()
    assert set(group.owner) == set(range(SYSTEMS))
