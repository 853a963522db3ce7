"""One uniform number in, one value of the prior out: against scipy's distributions."""

import math
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from scipy import stats

from schemas.priors import AnyPrior, Choice, Fixed, LogUniform, Normal, PowerLaw, Uniform
from simulate.quantiles import QUANTILES, quantile
from tests.strategies import priors

DRAWS = np.random.default_rng(5).random(20_000)
ADAPTER: TypeAdapter[AnyPrior] = TypeAdapter(AnyPrior)


def cut_normal(prior: Normal) -> Any:
    low, high = ((end - prior.mean) / prior.sigma for end in prior.support)
    return stats.truncnorm(low, high, prior.mean, prior.sigma)


def power_law_cdf(prior: PowerLaw) -> Any:
    k = prior.slope + 1
    return lambda x: (x**k - prior.low**k) / (prior.high**k - prior.low**k)


NORMALS = [
    Normal(mean=0.5, sigma=0.15, low=0.2, high=0.9),
    Normal(mean=-3.0, sigma=2.0),
    Normal(mean=0.0, sigma=1.0, low=0.5),
    Normal(mean=0.0, sigma=1.0, high=-0.5),
    Normal(mean=0.0, sigma=1.0, low=6.0, high=8.0),
    Normal(mean=0.0, sigma=1.0, low=-8.0, high=-6.0),
    Normal(mean=0.0, sigma=1.0, low=7.9),
    Normal(mean=0.0, sigma=1.0, high=-7.9),
]


@pytest.mark.parametrize(
    ("prior", "cdf"),
    [
        (Uniform(low=-0.35, high=0.35), stats.uniform(-0.35, 0.7).cdf),
        (LogUniform(low=1e-24, high=1e-22), stats.loguniform(1e-24, 1e-22).cdf),
        (PowerLaw(low=1e7, high=1e10, slope=-1.0), stats.loguniform(1e7, 1e10).cdf),
        (PowerLaw(low=1.0, high=3.0, slope=0.0), stats.uniform(1, 2).cdf),
        *[
            (prior, power_law_cdf(prior))
            for prior in (
                PowerLaw(low=1e6, high=1e10, slope=-0.9),
                PowerLaw(low=1e7, high=1e10, slope=-1.9),
                PowerLaw(low=0.5, high=2.0, slope=2.0),
            )
        ],
        *[(prior, cut_normal(prior).cdf) for prior in NORMALS],
    ],
)
def test_draws_follow_the_distribution(prior: AnyPrior, cdf: Any) -> None:
    assert stats.kstest(quantile(prior, DRAWS), cdf).pvalue > 1e-3


@pytest.mark.parametrize("prior", NORMALS)
def test_a_cut_normal_is_exact_far_into_its_tails(prior: Normal) -> None:
    uniform = np.array([1e-12, 1e-6, 1e-3, 0.25, 0.5, 0.75, 1 - 1e-3, 1 - 1e-6])
    np.testing.assert_allclose(quantile(prior, uniform), cut_normal(prior).ppf(uniform), rtol=1e-8)


def test_a_power_law_has_the_slope_it_says() -> None:
    prior = PowerLaw(low=1e6, high=1e10, slope=-1.9)
    masses = quantile(prior, (np.arange(1_000_000) + 0.5) / 1_000_000)
    counts, edges = np.histogram(np.log(masses), np.log(np.logspace(6, 8, 11)))
    fitted = np.polyfit((edges[1:] + edges[:-1]) / 2, np.log(counts), 1)[0]
    assert fitted == pytest.approx(prior.slope + 1, abs=0.01)


def test_the_published_masses_are_drawn_by_the_published_formula() -> None:
    low, high = 1e6**0.1, 1e10**0.1
    masses = quantile(PowerLaw(low=1e6, high=1e10, slope=-0.9), DRAWS)
    np.testing.assert_allclose(masses, (low + (high - low) * DRAWS) ** 10, rtol=1e-12)


@pytest.mark.parametrize(
    ("weights", "shares"), [(None, [1 / 3, 1 / 3, 1 / 3]), ((1.0, 1.0, 2.0), [0.25, 0.25, 0.5])]
)
def test_choices_come_as_often_as_their_weights(weights: Any, shares: list[float]) -> None:
    drawn = quantile(Choice(values=(1.0, 5.0, 3.0), weights=weights), DRAWS)
    counts = [int((drawn == value).sum()) for value in (1.0, 5.0, 3.0)]
    assert sum(counts) == len(DRAWS)
    assert stats.chisquare(counts, np.array(shares) * len(DRAWS)).pvalue > 1e-3


def test_a_fixed_prior_is_always_its_value() -> None:
    assert set(quantile(Fixed(value=-0.1), DRAWS)) == {-0.1}


EXTREMES = np.array([0.0, 2.0**-53, 0.5, 1 - 2.0**-53])


@pytest.mark.parametrize("prior", [*NORMALS, LogUniform(low=1e-24, high=1e-22), Choice(values=(1.0, 2.0))])
def test_the_smallest_and_largest_uniform_give_finite_values(prior: AnyPrior) -> None:
    assert np.isfinite(quantile(prior, EXTREMES)).all()


@given(
    document=priors(-3, 3) | priors(1e-24, 1e-22) | priors(0.05, 20) | priors(1e6, 1e10),
    uniform=st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=5).map(sorted),
)
@settings(max_examples=300, deadline=None)
def test_values_stay_in_the_support_and_rise_with_the_uniform(
    document: dict[str, Any], uniform: list[float]
) -> None:
    prior = ADAPTER.validate_python(document, strict=False)
    values = quantile(prior, np.array([*uniform, 1 - 2.0**-53]))
    low, high = prior.support
    # an interval's end is rounded: one last place beyond it is not outside
    assert (values >= math.nextafter(low, -math.inf)).all()
    assert (values <= math.nextafter(high, math.inf)).all()
    if prior.kind != "choice":
        slack = 4 * np.spacing(np.abs(values).max())
        assert (np.diff(values) >= -slack).all()


def test_every_prior_of_the_schema_can_be_drawn_and_no_other() -> None:
    assert set(QUANTILES) == {prior.model_fields["kind"].default for prior in get_args(AnyPrior)}


def test_a_steep_power_law_of_small_numbers_can_be_drawn() -> None:
    prior = PowerLaw(low=1e-40, high=1e-39, slope=-10.0)
    assert np.isfinite(quantile(prior, EXTREMES)).all()


def test_a_power_law_next_to_minus_one_is_log_uniform() -> None:
    uniform = np.array([0.1, 0.5])
    near = quantile(PowerLaw(low=1e6, high=1e10, slope=-1 + 2.0**-52), uniform)
    np.testing.assert_allclose(near, quantile(LogUniform(low=1e6, high=1e10), uniform), rtol=1e-6)
