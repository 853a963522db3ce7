"""Cold, warm and self-interacting populations: the law of each number that is drawn."""

from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from lenstronomy.LensModel.lens_model import LensModel
from lenstronomy.LensModel.Profiles.nfw_core_truncated import TNFWC
from scipy import integrate, optimize, stats

from schemas.cosmology import Cosmology, MassConversion
from schemas.priors import Fixed, LogUniform, PowerLaw
from schemas.substructure import (
    ColdPopulation,
    MassConcentration,
    PointMass,
    SelfInteractingPopulation,
    TruncatedNFW,
    WarmPopulation,
)
from simulate.cosmology import hubble_rate
from simulate.masses import total
from simulate.quantiles import poisson_quantile, power_law_mean
from simulate.streams import PARAMETERS, Streams
from simulate.substructure import KINDS, Surroundings
from simulate.substructure.halos import concentration
from simulate.substructure.kinds import Draw
from simulate.substructure.self_interacting import core_radius, one_scattering_radius, scale_density_and_speed
from simulate.substructure.warm import abundance, relative_concentration

SYSTEMS = 3000
MASSES = PowerLaw(slope=-1.9, low=1e7, high=1e10)
F_SUB = Fixed(value=0.02)


def around(systems: int = SYSTEMS, **changes: float) -> Surroundings:
    numbers = {"z_lens": 0.5, "z_source": 1.5, "center_x": 0.1, "center_y": -0.2}
    numbers |= {"theta_E": 1.2, "slope": 2.1, "ellipticity": 0.2} | changes
    return Surroundings(
        **{name: np.full(systems, value) for name, value in numbers.items()},
        cosmology=Cosmology(),
        mass_conversion=MassConversion(),
    )


def drawn(kind: Any, systems: int = SYSTEMS, **changes: float) -> Draw:
    return KINDS[kind.kind](kind, around(systems, **changes), Streams(3, PARAMETERS, np.arange(systems)))


@lru_cache(maxsize=1)
def points() -> Draw:
    return drawn(ColdPopulation(f_sub=F_SUB, mass_msun=MASSES, profile=PointMass()))


def masses(draw: Draw) -> np.ndarray:
    (group,) = draw.deflectors
    return (group.parameters["theta_E"] / around().unit_einstein_radius[group.owner]) ** 2


# -- cold


def test_masses_follow_the_mass_function() -> None:
    low, high = 1e7**-0.9, 1e10**-0.9
    found = masses(points())
    assert stats.kstest(found[:100_000], lambda m: (m**-0.9 - low) / (high - low)).pvalue > 1e-3


@pytest.mark.parametrize("slope", [-2.4, -2.0, -1.9, -1.0, -0.9, 0.5])
def test_the_mean_of_a_mass_function(slope: float) -> None:
    weight, moment = (integrate.quad(lambda m, p=p: m ** (slope + p), 1, 1000)[0] for p in (0, 1))
    found = power_law_mean(PowerLaw(slope=slope, low=1e7, high=1e10))
    assert found == pytest.approx(1e7 * moment / weight, rel=1e-9)


@pytest.mark.parametrize("mean", [0.0, 1e-6, 0.3, 1.0, 7.5, 180.0, 4000.0])
def test_poisson_quantiles_are_scipys(mean: float) -> None:
    uniform = np.concatenate([np.random.default_rng(1).random(2000), [0.0, 0.5, 1 - 2**-53]])
    expected = stats.poisson.ppf(np.maximum(uniform, 2.0**-54), mean) if mean else np.zeros(len(uniform))
    np.testing.assert_array_equal(poisson_quantile(np.full(len(uniform), mean), uniform), expected)


def test_numbers_are_poisson() -> None:
    number = points().columns["subhalo_count"]
    mean = 0.02 * around().lens_mass(1.5 * around().theta_E)[0] / power_law_mean(MASSES)
    assert number.mean() == pytest.approx(mean, abs=4 * np.sqrt(mean / SYSTEMS))
    assert number.var() == pytest.approx(mean, rel=0.15)
    edges = stats.poisson.ppf(np.linspace(0, 1, 11)[1:-1], mean)
    counts = np.histogram(number, [-0.5, *(edges + 0.5), np.inf])[0]
    expected = np.diff([0, *stats.poisson.cdf(edges, mean), 1]) * SYSTEMS
    assert stats.chisquare(counts, expected).pvalue > 1e-3


def test_f_sub_is_the_expected_mass_over_that_of_the_lens() -> None:
    realised = points().columns["f_sub_realised"]
    assert realised.mean() == pytest.approx(0.02, abs=4 * realised.std() / np.sqrt(SYSTEMS))
    ratio = points().columns["subhalo_mass_msun"] / around().lens_mass(1.5 * around().theta_E)
    np.testing.assert_allclose(realised, ratio, rtol=1e-12)


def test_a_drawn_f_sub_follows_its_prior_and_is_what_is_realised() -> None:
    columns = drawn(ColdPopulation(f_sub=LogUniform(low=0.005, high=0.1), profile=PointMass())).columns
    assert stats.kstest(columns["f_sub"], stats.loguniform(0.005, 0.1).cdf).pvalue > 1e-3
    ratio = columns["f_sub_realised"] / columns["f_sub"]
    assert ratio.mean() == pytest.approx(1, abs=4 * ratio.std() / np.sqrt(SYSTEMS))


def test_places_are_uniform_in_area_around_the_lens() -> None:
    parameters = points().deflectors[0].parameters
    x, y = parameters["center_x"] - 0.1, parameters["center_y"] + 0.2
    assert stats.kstest((np.hypot(x, y) / (1.5 * 1.2)) ** 2, "uniform").pvalue > 1e-3
    assert stats.kstest(np.arctan2(y, x), stats.uniform(-np.pi, 2 * np.pi).cdf).pvalue > 1e-3


def test_columns_sum_up_the_population() -> None:
    draw = points()
    (group,) = draw.deflectors
    for system in (0, 1, 2, SYSTEMS - 1):
        mine = masses(draw)[group.owner == system]
        assert draw.columns["subhalo_count"][system] == len(mine)
        assert draw.columns["subhalo_mass_msun"][system] == pytest.approx(mine.sum())
        assert draw.columns["subhalo_mass_max_msun"][system] == pytest.approx(mine.max())
        assert draw.columns["subhalo_bound_mass_msun"][system] == pytest.approx(mine.sum())


@pytest.mark.parametrize("f_sub", [0.0, 1e-5])
def test_a_lens_may_have_no_subhalos(f_sub: float) -> None:
    draw = drawn(ColdPopulation(f_sub=Fixed(value=f_sub)))
    none = draw.columns["subhalo_count"] == 0
    assert none.any()
    for name in ("subhalo_mass_msun", "subhalo_mass_max_msun", "subhalo_bound_mass_msun", "f_sub_realised"):
        assert (draw.columns[name][none] == 0).all()


def test_the_lens_mass_of_a_round_isothermal_lens_is_known() -> None:
    """pi theta_E R times the critical density, which is one solar mass over pi unit^2."""
    round_lens = around(1, slope=2.0, ellipticity=0.0)
    expected = 1.2 * 1.8 / round_lens.unit_einstein_radius**2
    np.testing.assert_allclose(round_lens.lens_mass(np.array([1.8])), expected, rtol=1e-12)


@pytest.mark.parametrize(("gamma", "e1", "e2"), [(2.0, 0.3, -0.2), (1.7, 0.0, 0.4), (2.3, -0.1, 0.0)])
def test_the_lens_mass_of_a_power_law_is_the_integral_of_its_convergence(
    gamma: float, e1: float, e2: float
) -> None:
    numbers = {"theta_E": 1.2, "gamma": gamma, "e1": e1, "e2": e2, "center_x": 0.0, "center_y": 0.0}
    # by Gauss's law: the mean radial deflection on the circle
    angle = np.arange(720) * 2 * np.pi / 720
    x, y = 1.8 * np.cos(angle), 1.8 * np.sin(angle)
    alpha_x, alpha_y = LensModel(["EPL"]).alpha(x, y, [numbers])
    expected = 1.8 * (alpha_x * np.cos(angle) + alpha_y * np.sin(angle)).mean()
    lens = around(1, slope=gamma, ellipticity=float(np.hypot(e1, e2)))
    found = lens.lens_mass(np.array([1.8])) * lens.unit_einstein_radius**2
    np.testing.assert_allclose(found, expected, rtol=1e-6)


# -- halos


@pytest.mark.parametrize(
    ("mass", "redshift", "expected"),
    [
        # log10 c200 = 0.905 at z = 0 and 0.728 at z = 1 for 1e12 / h: Dutton & Maccio 2014, table 3
        (1e12 / 0.7, 0.0, 10**0.905),
        (1e12 / 0.7, 1.0, 10**0.728),
        (1e10 / 0.7, 0.0, 10 ** (0.905 + 2 * 0.101)),
        (1e10 / 0.7, 1.0, 10 ** (0.728 + 2 * 0.075)),
    ],
)
def test_concentrations_are_those_of_dutton_and_maccio(mass: float, redshift: float, expected: float) -> None:
    profile = TruncatedNFW(concentration=MassConcentration(scatter_dex=0.0))
    lens = around(1, z_lens=redshift)
    owner = np.zeros(1, np.int64)
    found = concentration(profile, lens, np.array([mass]), owner, np.array([0.3]))
    assert found[0] == pytest.approx(expected, rel=5e-3)


def test_concentrations_scatter_by_a_log_normal() -> None:
    owner = np.zeros(20_000, np.int64)
    uniform = np.random.default_rng(5).random(20_000)
    mass = np.full(20_000, 1e9)
    middle = concentration(TruncatedNFW(), around(1), mass, owner, np.full(20_000, 0.5))
    found = concentration(TruncatedNFW(), around(1), mass, owner, uniform)
    assert stats.kstest(np.log10(found / middle), stats.norm(0, 0.13).cdf).pvalue > 1e-3


@pytest.mark.parametrize("tau", [0.5, 2.0, 7.0, 20.0])
def test_the_mass_of_a_truncated_halo_is_what_deflects_far_away(tau: float) -> None:
    halo = TruncatedNFW(concentration=Fixed(value=15.0), truncation=Fixed(value=tau))
    (group,) = drawn(ColdPopulation(f_sub=F_SUB, profile=halo), 3).deflectors
    one = {name: float(values[0]) for name, values in group.parameters.items()}
    far = 1e5 * one["r_trunc"]
    alpha, _ = LensModel(["TNFW"]).alpha(
        np.array([one["center_x"] + far]), np.array([one["center_y"]]), [one]
    )
    assert total(group)[0] == pytest.approx(float(alpha[0]) * far, rel=1e-4)


def test_truncations_are_log_uniform_by_default() -> None:
    (group,) = drawn(ColdPopulation(f_sub=F_SUB), 300).deflectors
    ratio = group.parameters["r_trunc"] / group.parameters["Rs"]
    assert stats.kstest(ratio, stats.loguniform(2, 20).cdf).pvalue > 1e-3


def test_a_profile_changes_neither_numbers_nor_places() -> None:
    extended = drawn(ColdPopulation(f_sub=F_SUB))
    for name in ("subhalo_count", "subhalo_mass_msun", "f_sub_realised"):
        np.testing.assert_array_equal(extended.columns[name], points().columns[name])
    for name in ("center_x", "center_y"):
        np.testing.assert_array_equal(
            extended.deflectors[0].parameters[name], points().deflectors[0].parameters[name]
        )


# -- warm


def test_warm_subhalos_are_fewer_by_lovells_fit() -> None:
    # (1 + 4.2^2.5)^-0.2 at the half-mode mass itself
    assert abundance(np.array([1.0]))[0] == pytest.approx((1 + 4.2**2.5) ** -0.2)
    assert abundance(np.array([1e-9, 1e9])) == pytest.approx([1.0, (4.2e9) ** -0.5], rel=1e-6)
    warm = drawn(WarmPopulation(f_sub=F_SUB, profile=PointMass(), half_mode_mass_msun=Fixed(value=1e8)))
    edges = np.logspace(7, 9, 9)
    before, after = (np.histogram(masses(one), edges)[0] for one in (points(), warm))
    for low, high, n, left in zip(edges, edges[1:], before, after, strict=False):
        grid = np.geomspace(low, high, 200)
        density = grid**-1.9
        expected = np.trapezoid(density * abundance(1e8 / grid), grid) / np.trapezoid(density, grid)
        assert left / n == pytest.approx(expected, abs=4 * np.sqrt(expected / n))


def test_warm_numbers_stay_poisson() -> None:
    warm = drawn(WarmPopulation(f_sub=F_SUB, profile=PointMass(), half_mode_mass_msun=Fixed(value=1e8)))
    number = warm.columns["subhalo_count"]
    assert number.var() == pytest.approx(number.mean(), rel=0.15)


def test_warm_halos_are_less_concentrated_by_bose_et_al() -> None:
    assert relative_concentration(np.array([1.0]), np.array([0.0]))[0] == pytest.approx(61**-0.17)
    at_one = relative_concentration(np.array([0.0]), np.array([1.0]))[0]
    assert at_one == pytest.approx(2 ** (0.026 - 0.04))


def test_warm_without_half_mode_mass_is_cold() -> None:
    halo = TruncatedNFW(concentration=Fixed(value=12.0))
    cold = drawn(ColdPopulation(f_sub=F_SUB, profile=halo), 200, z_lens=0.5).deflectors[0]
    warm = drawn(
        WarmPopulation(f_sub=F_SUB, profile=halo, half_mode_mass_msun=Fixed(value=1e-12)), 200
    ).deflectors[0]
    np.testing.assert_array_equal(warm.owner, cold.owner)
    np.testing.assert_array_equal(warm.parameters["center_x"], cold.parameters["center_x"])
    # the fit of the concentrations does not quite go to one
    lowered = 1.5 ** (0.026 * 0.5 - 0.04)
    np.testing.assert_allclose(warm.parameters["Rs"] * lowered, cold.parameters["Rs"], rtol=1e-9)


def test_half_mode_masses_follow_their_prior() -> None:
    prior = LogUniform(low=1e7, high=1e9)
    found = drawn(WarmPopulation(f_sub=F_SUB, half_mode_mass_msun=prior)).columns["half_mode_mass_msun"]
    assert stats.kstest(found, stats.loguniform(1e7, 1e9).cdf).pvalue > 1e-3


# -- self-interacting


def sidm(cross_section: float, systems: int = 50) -> Draw:
    return drawn(
        SelfInteractingPopulation(f_sub=F_SUB, cross_section_cm2_g=Fixed(value=cross_section)), systems
    )


def test_particles_scatter_once_at_r1() -> None:
    scatterings = np.logspace(-12, 8, 200)
    r1 = one_scattering_radius(scatterings)
    np.testing.assert_allclose(r1 * (1 + r1) ** 2, scatterings, rtol=1e-9)


def test_scale_density_and_speed_are_those_of_an_nfw_halo() -> None:
    """By integrating the profile: m200 within r200, and the largest circular velocity."""
    mass, c200 = np.array([1e9]), np.array([15.0])
    hubble = hubble_rate(Cosmology(), np.array([0.5]))
    density, speed = scale_density_and_speed(mass, c200, hubble)
    solar, mpc, gravity = 1.98841e33, 3.0856775814913673e24, 6.6743e-8
    r200 = np.cbrt(gravity * mass * solar / (100 * hubble**2))
    Rs = r200 / c200

    def inside(r: Any) -> Any:
        return 4 * np.pi * density * Rs**3 * (np.log1p(r / Rs) - r / (r + Rs))

    np.testing.assert_allclose(inside(r200) / solar, mass, rtol=1e-4)
    radii = np.geomspace(0.1, 10, 4000) * Rs
    largest = np.sqrt(gravity * inside(radii) / radii).max()
    np.testing.assert_allclose(speed, 4 / np.sqrt(np.pi) * 0.64 * largest, rtol=1e-4)
    assert 1e-6 < r200[0] / mpc < 1


def isothermal_half_density(r1: float) -> float:
    """Where the density of the isothermal core falls to half, over Rs: Kaplinghat, Tulin & Yu's model.

    y'' + 2 y' / x = -exp(y) for y = ln(rho / rho_0); density and mass are those of the NFW halo at r1.
    """

    def slope(x: float, state: Any) -> list[float]:
        return [state[1], -np.exp(state[0]) - 2 * state[1] / x, x**2 * np.exp(state[0])]

    solution = integrate.solve_ivp(slope, [1e-6, 30], [0, 0, 0], rtol=1e-9, atol=1e-12, dense_output=True)
    core = solution.sol

    def mean_over_local(x: float) -> float:
        return float(core(x)[2] / (x**3 * np.exp(core(x)[0])))

    wanted = (np.log1p(r1) - r1 / (1 + r1)) * (1 + r1) ** 2 / r1**2
    match = optimize.brentq(lambda x: mean_over_local(x) - wanted, 0.1, 15)
    half = optimize.brentq(lambda x: core(x)[0] + np.log(2), 0.1, 10)
    return half / match * r1


@pytest.mark.parametrize("r1", [0.01, 0.1, 0.3, 0.7, 1.5, 3.0])
def test_cores_are_as_large_as_isothermal_ones(r1: float) -> None:
    core = float(core_radius(np.array([r1]))[0])
    half = optimize.brentq(lambda x: np.hypot(x, core) * (1 + x**2) - 2 * core, 1e-6, 10)
    assert half == pytest.approx(isothermal_half_density(r1), rel=0.06)


@pytest.mark.parametrize("cross_section", [0.1, 3.0, 1000.0])
def test_a_core_moves_mass_but_keeps_it(cross_section: float) -> None:
    cored, cuspy = sidm(cross_section), drawn(ColdPopulation(f_sub=F_SUB), 50)
    np.testing.assert_allclose(total(cored.deflectors[0]), total(cuspy.deflectors[0]), rtol=1e-9)
    for name, values in cuspy.columns.items():
        np.testing.assert_allclose(cored.columns[name], values, rtol=1e-9)


def test_the_mass_of_a_cored_halo_is_the_integral_of_its_density() -> None:
    parameters = sidm(3.0).deflectors[0].parameters
    for member in range(3):
        one = {name: float(values[member]) for name, values in parameters.items()}
        radii = {name: one[name] for name in ("Rs", "r_core", "r_trunc")}
        rho0 = TNFWC().alpha2rho0(one["alpha_Rs"], one["Rs"], one["r_core"], one["r_trunc"])
        mass = integrate.quad(
            lambda t, radii=radii, rho0=rho0: (
                TNFWC.density(
                    np.exp(t),
                    rho0=rho0,
                    **{"Rs": radii["Rs"], "r_core": radii["r_core"], "r_trunc": radii["r_trunc"]},
                )
                * np.exp(3 * t)
            ),
            -25,
            18,
            limit=500,
        )[0]
        # lenstronomy's rho is over the critical density: a deflection times its radius is M / pi
        assert total(sidm(3.0).deflectors[0])[member] == pytest.approx(4 * mass, rel=1e-4)


def test_cores_grow_with_the_cross_section() -> None:
    core = [sidm(value).deflectors[0].parameters["r_core"] for value in (1e-6, 0.1, 1.0, 10.0, 1000.0)]
    assert all((small <= large).all() for small, large in pairwise(core))
    assert (core[-1] < sidm(1.0).deflectors[0].parameters["Rs"]).all()


@pytest.mark.parametrize("tau", [0.3, 1.0, 5.0])
def test_cored_halos_are_finite_at_any_truncation(tau: float) -> None:
    kind = SelfInteractingPopulation(
        f_sub=F_SUB,
        profile=TruncatedNFW(truncation=Fixed(value=tau)),
        cross_section_cm2_g=LogUniform(low=1e-3, high=1000.0),
    )
    parameters = drawn(kind, 50).deflectors[0].parameters
    assert all(np.isfinite(values).all() for values in parameters.values())
    assert all((parameters[name] > 0).all() for name in ("Rs", "alpha_Rs", "r_core", "r_trunc"))
