"""Where a model works: planted dependences come first, with the right sign; chance comes last."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from schemas.detectability import ideal_auc
from schemas.imported import ImportedData
from schemas.objective import PlainAutoencoder, Target
from schemas.report import Dependence
from schemas.run import AnomalyHead, ClassifierHead, FittedTarget, RegressorHead
from storage.reader import Store
from tests.train.evaluation.planted import CLASSES, column, measured
from train.evaluation.bins import FEWEST_SAMPLES, auc_interval, placements, quantile_bins, trend
from train.evaluation.dependence import MOST, dependences
from train.evaluation.measured import Measured
from train.objectives.anomaly import AnomalyObjective
from train.objectives.classification import ClassificationObjective
from train.objectives.regression import RegressionObjective
from train.scores import auc, bootstrap

EACH = 400
LABEL = np.repeat(np.arange(3, dtype=np.int32), EACH)
MASS = column("vortex_mass_msun", (2,), "Msun")
VISIBLE = column("detectability", derived=True)


def _sides(rng: np.random.Generator) -> NDArray[np.float64]:
    """Outputs that know nothing."""
    return rng.normal(size=(len(LABEL), 3))


def _classified(sound: Store) -> Measured:
    """Vortices are told the better the heavier they are; nothing else matters."""
    rng = np.random.default_rng(1)
    mass = 10 ** rng.uniform(9, 11, len(LABEL))
    visible = np.where(LABEL == 0, 0.0, rng.uniform(0, 4, len(LABEL)))
    output = _sides(rng)
    output[LABEL == 2, 2] += 2 * (np.log10(mass[LABEL == 2]) - 9)
    output[LABEL == 1, 1] += visible[LABEL == 1]
    values = {
        MASS: mass,
        column("theta_E", unit="arcsec"): rng.normal(1, 0.1, len(LABEL)),
        column("gamma"): np.full(len(LABEL), 2.0),
        column("source_galaxy_index"): rng.integers(0, 50, len(LABEL)).astype(float),
        column("theta_E_smooth", derived=True): mass,
        VISIBLE: visible,
    }
    head = ClassifierHead(classes=CLASSES, most_frequent=0)
    return measured(sound, ClassificationObjective(head), LABEL, values, output)


@pytest.fixture(scope="module")
def classified(sound: Store) -> Measured:
    return _classified(sound)


@pytest.fixture(scope="module")
def found(classified: Measured) -> dict[tuple[str, str | None, str], Dependence]:
    return {(one.column, one.class_name, one.score): one for one in dependences(classified)}


def test_a_planted_dependence_is_found_and_rises(
    found: dict[tuple[str, str | None, str], Dependence], classified: Measured
) -> None:
    one = found["vortex_mass_msun", "vortex", "AUC against no_sub"]
    scores = [each.score.value for each in one.bins]
    assert len(scores) == 6
    assert scores == sorted(scores)
    assert scores[-1] > scores[0] + 0.2
    assert one.p_value is not None
    assert one.p_value < 1e-6
    assert (one.unit, one.better, sum(each.samples for each in one.bins)) == ("Msun", "higher", EACH)
    mass, rows = classified.samples.params[:, 0], classified.samples.label == 2
    first = one.bins[0]
    inside = rows & (mass >= first.low) & (mass <= first.high)
    against = inside | (classified.samples.label == 0)
    margin = classified.output[:, 2] - classified.output[:, 0]
    assert int(inside.sum()) == first.samples
    assert first.score.value == pytest.approx(auc(margin[against], inside[against]))
    assert first.score.low < first.score.value < first.score.high


def test_recall_is_the_share_told_rightly(
    found: dict[tuple[str, str | None, str], Dependence], classified: Measured
) -> None:
    one = found["vortex_mass_msun", "vortex", "recall"]
    right = classified.output.argmax(axis=1)[classified.samples.label == 2] == 2
    told = sum(each.samples * each.score.value for each in one.bins)
    assert told == pytest.approx(right.sum())


def test_detectability_comes_first_with_the_bound(
    found: dict[tuple[str, str | None, str], Dependence], classified: Measured
) -> None:
    first = next(iter(found.values()))
    assert (first.column, first.class_name) == ("detectability", "cdm")
    one = found["detectability", "cdm", "AUC against no_sub"]
    visible = classified.samples.params[classified.samples.label == 1, -1]
    low = visible[visible <= one.bins[0].high]
    assert one.ideal[0] == pytest.approx(ideal_auc(low).mean())
    assert list(one.ideal) == sorted(one.ideal, key=lambda best: best or 0)
    assert found["detectability", "cdm", "recall"].ideal == ()
    # smooth lenses have none of it
    assert not any(key[0] == "detectability" and key[1] == "no_sub" for key in found)
    every = found["detectability", None, "accuracy"]
    assert sum(each.samples for each in every.bins) == 2 * EACH


def test_chance_comes_after_what_is_sure(found: dict[tuple[str, str | None, str], Dependence]) -> None:
    others = [one for one in found.values() if one.column != "detectability"]
    assert {one.column for one in others[:2]} == {"vortex_mass_msun"}
    assert len(others) <= MOST
    chances = [one.p_value for one in others if one.column == "theta_E"]
    assert chances
    assert all(one is not None and one > 0.05 for one in chances)


def test_constants_numbers_of_files_and_copies_are_left_out(
    found: dict[tuple[str, str | None, str], Dependence],
) -> None:
    assert {key[0] for key in found} == {"vortex_mass_msun", "theta_E", "detectability"}
    assert ("vortex_mass_msun", None, "accuracy") not in found


def test_a_column_of_both_classes_is_compared_within_its_bins(sound: Store) -> None:
    # brighter lenses look more like vortices whether they are or not: within a bin nothing is to be told
    rng = np.random.default_rng(2)
    bright, output = rng.uniform(0, 1, len(LABEL)), _sides(rng)
    output[:, 2] += 6 * bright
    head = ClassifierHead(classes=CLASSES, most_frequent=0)
    planted = measured(sound, ClassificationObjective(head), LABEL, {column("brightness"): bright}, output)
    (one,) = (
        one for one in dependences(planted) if (one.class_name, one.score) == ("vortex", "AUC against no_sub")
    )
    assert all(abs(each.score.value - 0.5) < 0.12 for each in one.bins)


def test_imported_images_are_told_from_the_rest(classified: Measured) -> None:
    stored = classified.store.stored
    imported = replace(
        classified.store, stored=stored.model_copy(update={"recipe": ImportedData.model_construct()})
    )
    scores = {one.score for one in dependences(replace(classified, store=imported))}
    assert scores == {"accuracy", "recall", "AUC against the rest"}


def test_errors_of_numbers(sound: Store) -> None:
    rng = np.random.default_rng(3)
    theta, mass = rng.uniform(0.5, 2, len(LABEL)), 10 ** rng.uniform(9, 11, len(LABEL))
    specs = [column("theta_E", unit="arcsec"), column("vortex_mass_msun", (2,), "Msun")]
    nothing = [column(f"nothing_{k}") for k in range(20)]
    targets = (
        FittedTarget(target=Target(column="theta_E"), unit="arcsec", mean=1.0, spread=0.5),
        FittedTarget(
            target=Target(column="vortex_mass_msun", transform="log10"), unit="dex", mean=10.0, spread=0.5
        ),
    )
    # worst at both ends, which a correlation would not see
    error = np.abs(theta - 1.25) * rng.uniform(0.8, 1.2, len(LABEL))
    output = np.stack([(theta + error - 1) / 0.5, (np.log10(mass) + 0.3 - 10) / 0.5], axis=1)
    values = {specs[0]: theta, specs[1]: mass} | {one: rng.normal(size=len(LABEL)) for one in nothing}
    objective = RegressionObjective(RegressorHead(targets=targets, labels=(0, 1, 2)))
    result = dependences(measured(sound, objective, LABEL, values, output))
    first = result[0]
    assert (first.column, first.class_name, first.score) == ("theta_E", None, "MAE of theta_E")
    assert first.better == "lower"
    assert first.bins[0].score.value > 3 * first.bins[2].score.value
    told = sum(each.samples * each.score.value for each in first.bins) / len(LABEL)
    assert told == pytest.approx(np.abs(error).mean())
    assert len(result) == MOST
    of_mass = [one for one in result if one.score == "MAE of vortex_mass_msun"]
    assert all(abs(each.score.value - 0.3) < 1e-9 for one in of_mass for each in one.bins)
    assert {one.class_name for one in of_mass} <= {"vortex"}


def test_anomalies_by_their_detectability(sound: Store) -> None:
    rng = np.random.default_rng(4)
    visible = np.where(LABEL == 0, 0.0, rng.uniform(0, 4, len(LABEL)))
    output = np.stack([np.zeros(len(LABEL)), rng.normal(size=len(LABEL)) + visible], axis=1)
    head = AnomalyHead(classes=CLASSES, trained_on=(0,), method=PlainAutoencoder(), latent=2)
    result = dependences(measured(sound, AnomalyObjective(head), LABEL, {VISIBLE: visible}, output))
    assert [(one.class_name, one.score) for one in result] == [
        (name, "AUC against no_sub") for name in (one.class_name for one in result)
    ]
    assert {one.class_name for one in result} == {"cdm", "vortex"}
    for one in result:
        assert one.bins[-1].score.value > 0.95
        assert len(one.ideal) == len(one.bins)


def test_few_samples_say_nothing(classified: Measured) -> None:
    few = classified.samples
    rows = np.flatnonzero(np.arange(len(few)) % 40 == 0)
    picked = replace(
        few, label=few.label[rows], params=few.params[rows], sample_id=few.sample_id[rows], row=rows
    )
    kept = dependences(replace(classified, samples=picked, output=classified.output[rows]))
    assert kept == ()


# -- bins


def test_bins_hold_enough_samples_and_all_of_them() -> None:
    rng = np.random.default_rng(5)
    for values in (rng.normal(size=1000), rng.poisson(1, 300).astype(float), rng.integers(0, 2, 90) * 1.0):
        bins = quantile_bins(values)
        assert bins is not None
        counts = np.bincount(bins)
        assert 2 <= len(counts) <= 6
        assert counts.min() >= FEWEST_SAMPLES
        edges = [(values[bins == k].min(), values[bins == k].max()) for k in range(len(counts))]
        assert all(before[1] < after[0] for before, after in itertools.pairwise(edges))
    assert quantile_bins(np.ones(500)) is None
    assert quantile_bins(np.arange(2 * FEWEST_SAMPLES - 1.0)) is None


def test_a_trend_without_one_is_rare() -> None:
    rng = np.random.default_rng(6)
    bins = np.repeat(np.arange(5), 50)
    chances = [trend(rng.normal(size=250), bins)[1] for _ in range(200)]
    assert 0.02 < np.mean(np.array(chances) < 0.1) < 0.2
    assert trend(np.ones(250), bins) == (0.0, 1.0)


def test_areas_and_their_intervals_are_those_of_the_slow_way() -> None:
    rng = np.random.default_rng(7)
    positive, negative = np.round(rng.normal(0.8, 1, 150), 1), np.round(rng.normal(0, 1, 250), 1)
    score, is_positive = np.concatenate([positive, negative]), np.arange(400) < 150
    assert placements(positive, negative).mean() == pytest.approx(auc(score, is_positive))
    quick = auc_interval(positive, negative)
    slow = bootstrap(lambda rows: auc(score[rows], is_positive[rows]), 400)
    assert quick.value == pytest.approx(slow.value)
    assert quick.low == pytest.approx(slow.low, abs=0.015)
    assert quick.high == pytest.approx(slow.high, abs=0.015)
