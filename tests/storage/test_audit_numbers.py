"""Areas, classifiers, components and image statistics that audits rest on, against what is known of them."""

import numpy as np
import pytest
from scipy.stats import mannwhitneyu, norm

from storage.audit.classifier import cross_fitted, logistic, normal_scores, with_products, without
from storage.audit.components import principal_components
from storage.audit.separation import area_under_curve, classifier_reach, separate, smallest_found
from storage.audit.statistics import image_statistics


def test_areas_are_those_of_mann_and_whitney() -> None:
    rng = np.random.default_rng(20)
    first, second = rng.integers(0, 12, 80).astype(float), rng.integers(2, 14, 70).astype(float)
    area, _, by_chance = area_under_curve(first, second)
    test = mannwhitneyu(second, first, use_continuity=False, method="asymptotic")
    assert area == pytest.approx(test.statistic / (80 * 70))
    value, _ = separate(first, second, test.pvalue)
    # at the level of its own p-value a test is just at its bound
    assert value.bound == pytest.approx(abs(area - 0.5))
    assert by_chance > 0


def test_intervals_hold_the_true_area_in_95_of_100() -> None:
    rng = np.random.default_rng(21)
    held = 0
    for _ in range(400):
        value, _ = separate(rng.normal(size=150), rng.normal(0.5, 1.0, size=120), 0.01)
        held += value.low <= 0.63816 <= value.high
    assert 365 <= held <= 393


@pytest.mark.parametrize("columns", [2, 6])
def test_chance_takes_a_cross_fitted_classifier_no_further_than_its_bound(columns: int) -> None:
    rng = np.random.default_rng(22)
    second = np.arange(600) % 2 == 1
    reach = []
    for seed in range(150):
        scores = np.stack([normal_scores(rng.gamma(0.5, size=600)) for _ in range(columns)], axis=1)
        found = cross_fitted(with_products(scores), second, 0.01, seed)
        reach.append((found.auc - 0.5) / found.bound * classifier_reach(0.01))
    assert np.std(reach) < 1.55
    assert np.mean(np.array(reach) > classifier_reach(0.01)) <= 0.03


def test_the_smallest_area_is_found_in_nine_of_ten() -> None:
    wanted = smallest_found(400, 400, 1e-4)
    shift = np.sqrt(2) * float(norm.ppf(wanted))
    rng = np.random.default_rng(23)
    found = [separate(rng.normal(size=400), rng.normal(shift, 1, 400), 1e-4)[0].found for _ in range(300)]
    assert 0.84 <= np.mean(found) <= 0.96
    assert smallest_found(5000, 5000, 1e-4) == pytest.approx(0.530, abs=0.001)


def test_logistic_regression_finds_weights_and_bears_perfect_separation() -> None:
    rng = np.random.default_rng(24)
    features = rng.normal(size=(20_000, 3))
    second = rng.random(20_000) < 1 / (1 + np.exp(-features @ [1.0, -0.5, 0.0]))
    np.testing.assert_allclose(logistic(features, second), [1.0, -0.5, 0.0], atol=0.05)
    apart = logistic(features, features[:, 0] > 0)
    assert np.isfinite(apart).all()
    assert apart[0] > 3


def test_normal_scores_keep_the_order_and_take_any_spelling() -> None:
    values = np.random.default_rng(25).lognormal(size=300)
    scores = normal_scores(values)
    assert (np.diff(scores[np.argsort(values)]) > 0).all()
    np.testing.assert_allclose(normal_scores(np.log(values)), scores)
    assert (scores.mean(), scores.std()) == pytest.approx((0.0, 1.0))
    values[7] = np.nan
    assert normal_scores(values)[7] == normal_scores(values).min()


def test_what_columns_explain_is_taken_out() -> None:
    rng = np.random.default_rng(26)
    columns = rng.normal(size=(2000, 2))
    target = columns[:, 0] + columns[:, 0] * columns[:, 1] + 0.1 * rng.normal(size=2000)
    left = without(target, np.stack([normal_scores(one) for one in columns.T], axis=1))
    assert left.std() < 0.4
    assert abs(np.corrcoef(left, columns[:, 0])[0, 1]) < 0.02


def test_principal_components_are_those_of_a_singular_value_decomposition() -> None:
    rng = np.random.default_rng(27)
    images = (rng.normal(size=(200, 30)) * np.geomspace(10, 0.01, 30)).astype(np.float32)
    found = principal_components(images, most=5)
    exact = np.linalg.svd(images - images.mean(axis=0), full_matrices=False)[2][:5]
    np.testing.assert_allclose(np.abs((found.directions * exact).sum(axis=1)), 1.0, atol=1e-3)
    power = ((images - images.mean(axis=0)) ** 2).sum(axis=1)
    np.testing.assert_allclose(
        found.left_over(images), power - (found.scores(images) ** 2).sum(axis=1), rtol=1e-2
    )


def test_statistics_of_a_known_image() -> None:
    image = np.zeros((2, 1, 17, 17), np.float32)
    image[0, 0, 10, 6] = 2.0
    image[0, 0, 10, 10] = 2.0
    found = {name: values[0] for name, values in image_statistics(image).items()}
    assert (found["flux"], found["maximum"], found["minimum"], found["median"]) == (4, 2, 0, 0)
    assert (found["centroid_x"], found["centroid_y"]) == (0, 2)
    assert found["radius"] == 2
    assert (found["ellipticity_1"], found["ellipticity_2"]) == (1, 0)
    assert found["central_flux"] == 4
    assert found["border_flux"] == 0
    dark = {name: values[1] for name, values in image_statistics(image).items()}
    assert dark["flux"] == 0
    assert np.isnan(dark["radius"])


def test_each_channel_has_a_flux() -> None:
    images = np.random.default_rng(28).random((5, 3, 8, 8)).astype(np.float32)
    found = image_statistics(images)
    np.testing.assert_allclose(found["flux_1"], images[:, 1].sum(axis=(1, 2)), rtol=1e-6)
    np.testing.assert_allclose(found["flux"], images.sum(axis=(1, 2, 3)), rtol=1e-6)
