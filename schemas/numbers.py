"""Every number of a report, one row each: what its tables, its Parquet file and other books are made of."""

import re
from collections.abc import Iterable, Iterator

from pydantic import Field

from schemas.frozen import Frozen
from schemas.metrics import (
    AnomalyMetrics,
    ClassificationMetrics,
    Interval,
    Metrics,
    RegressionMetrics,
    TargetMetrics,
)
from schemas.report import Baseline, Report

METRICS, CONSTANT, SPEED = "metrics", "constant", "speed"
# what a score is in words where its name with spaces would not do
WORDS = {
    "auc": "AUC",
    "auc_macro": "AUC macro",
    "auc_micro": "AUC micro",
    "auc_all": "AUC of all others",
    "precision": "average precision",
    "precision_macro": "average precision macro",
    "precision_micro": "average precision micro",
    "precision_all": "average precision of all others",
    "mae": "MAE",
    "rmse": "RMSE",
    "r2": "R2",
    "percentage_error": "median error",
    "mean_percentage_error": "mean error",
    "score": "median score",
    "sigma": "predicted sigma",
    "within_sigma": "within predicted sigma",
}
# of a target: in its own unit; everything else of it is a share, a ratio or a count
IN_UNIT = ("mae", "rmse", "bias", "sigma", "width", "scatter")
# an anomaly search's name says how many ordinary ones are called anomalous
FALSE_ALARMS = re.compile(r"(found_at_.*)_false")
# What knowing nothing scores in average precision is the share of the class.
SHARES = {"share": "precision", "share_all": "precision_all"}
# An area under a ROC curve of something that knows nothing.
BLIND_AUC = 0.5


class Number(Frozen):
    """One number with the interval it lies in, where one is known."""

    section: str = Field(description="metrics, constant, baseline ..., gain over ..., bound, reliability...")
    name: str = Field(description="of what was measured, such as auc or mae")
    of: str = Field(default="", description="class, target or pair; empty for all together")
    value: float
    low: float | None = None
    high: float | None = None
    unit: str = "1"

    @property
    def words(self) -> str:
        """As it is called in tables, with its unit."""
        unit = "" if self.unit in ("", "1") else f"[{self.unit}]"
        return " ".join(filter(None, (words_of(self.name), self.of, unit)))


def words_of(name: str) -> str:
    """What a number is called in tables."""
    name = FALSE_ALARMS.sub(r"\1_false_positives", name)
    return WORDS.get(name, name.replace("_", " "))


def score_words(name: str) -> str:
    """The same of a score, whose name carries its target behind a dot."""
    metric, _, of = name.partition(".")
    return f"{words_of(metric)} {of}".rstrip()


def numbers(report: Report) -> tuple[Number, ...]:
    """All of a report, section by section."""
    return (
        *numbers_of_metrics(report.metrics),
        *(row for one in report.baselines for row in _of_baseline(one)),
        *_of_bounds(report),
        *_of_reliability(report),
        *_of_dependences(report),
        *_of_confusion(report),
        *_of_speed(report),
    )


def _rows(section: str, name: str, value: object, of: str = "", unit: str = "1") -> Iterator[Number]:
    """A row of whatever holds one number; nothing where there is none."""
    if isinstance(value, Interval):
        yield Number(
            section=section, name=name, of=of, value=value.value, low=value.low, high=value.high, unit=unit
        )
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield Number(section=section, name=name, of=of, value=float(value), unit=unit)


def numbers_of_metrics(metrics: Metrics) -> Iterator[Number]:
    """What an objective measured, and what a constant gets beside it."""
    if isinstance(metrics, RegressionMetrics):
        for one in metrics.targets:
            yield from _fields(one, one.target, one.unit)
    else:
        yield from _fields(metrics)
    if isinstance(metrics, ClassificationMetrics):
        yield from _blind_precisions(metrics)
    if isinstance(metrics, AnomalyMetrics):
        for found in metrics.found:
            name, of = f"found_at_{found.false_positives:.0%}_false", found.class_name or "all others"
            yield from _rows(METRICS, name, found.found, of)
            yield from _rows(CONSTANT, name, found.false_positives, of)


def _blind_precisions(metrics: ClassificationMetrics) -> Iterator[Number]:
    """Of knowing nothing: the mean share of a class, and one of as many cases as there are classes."""
    shares = list(metrics.share.values())
    yield from _rows(CONSTANT, "precision_macro", sum(shares) / len(shares))
    yield from _rows(CONSTANT, "precision_micro", 1 / len(shares))


def _fields(metrics: Metrics | TargetMetrics, of: str = "", unit: str = "1") -> Iterator[Number]:
    """All numbers among the fields, those of the constant predictor and the gains over it set apart."""
    for field, value in metrics:
        section, name = METRICS, field
        if field.startswith("constant_"):
            section, name = CONSTANT, field.removeprefix("constant_")
        elif field in SHARES:
            section, name = CONSTANT, SHARES[field]
        elif field.endswith("_gain"):
            section, name = f"gain over {CONSTANT}", field.removesuffix("_gain")
        told = value.items() if isinstance(value, dict) else [(of, value)]
        for key, one in told:
            yield from _one(section, name, one, key, _unit(name, unit))


def _one(section: str, name: str, value: object, of: str, unit: str) -> Iterator[Number]:
    for row in _rows(section, name, value, of, unit):
        yield row
        if section == METRICS and name.split("_")[0] == "auc":
            yield Number(section=CONSTANT, name=name, of=of, value=BLIND_AUC)


def _unit(name: str, unit: str) -> str:
    if "percentage" in name:
        return "%"
    return unit if name.split("_")[0] in IN_UNIT else "1"


def _of_baseline(one: Baseline) -> Iterator[Number]:
    units = {score.name: score.unit for score in one.scores}
    for score in one.scores:
        yield from _scored(f"baseline {one.kind}", score.name, score.value, score.unit)
    for name, gain in one.gain.items():
        yield from _scored(f"gain over {one.kind}", name, gain, units.get(name, "1"))


def _scored(section: str, score: str, value: Interval, unit: str) -> Iterator[Number]:
    """A score's name carries its target behind a dot."""
    name, _, of = score.partition(".")
    return _rows(section, name, value, of, unit)


def _of_bounds(report: Report) -> Iterator[Number]:
    for one in report.bounds:
        pair = f"{one.name} against {one.against}"
        yield from _rows("bound", "auc_ideal", one.ideal, pair)
        yield from _rows("bound", "auc", one.model, pair)


def _of_reliability(report: Report) -> Iterator[Number]:
    found, section = report.reliability, "reliability"
    if found is None:
        return
    yield from _rows(section, "calibration_error_before", found.error_before)
    yield from _rows(section, "calibration_error", found.error)
    yield from _rows(section, "calibration_error_by_chance", found.error_by_chance)
    for part in found.bins:
        yield from _rows(section, "right", part.right, f"confidence {_reach(part.low, part.high)}")
    for one in found.coverage:
        unit = unit_of(report, one.target)
        yield from _rows(section, f"covered_at_{one.level:g}", one.covered, one.target)
        yield from _rows(section, f"covered_at_{one.level:g}_before", one.before, one.target)
        yield from _rows(section, f"width_at_{one.level:g}", one.width, one.target, unit)


def unit_of(report: Report, target: str) -> str:
    """The unit that a target is learned in."""
    metrics = report.metrics
    known = metrics.targets if isinstance(metrics, RegressionMetrics) else ()
    return next((one.unit for one in known if one.target == target), "1")


def _of_dependences(report: Report) -> Iterator[Number]:
    for one in report.dependences:
        name, who = f"{one.score} by {one.column}", one.class_name or "all"
        yield from _rows("dependence", f"trend of {name}", one.trend, who)
        for part in one.bins:
            yield from _rows("dependence", name, part.score, f"{who} {_reach(part.low, part.high)}")


def _of_confusion(report: Report) -> Iterator[Number]:
    metrics = report.metrics
    if isinstance(metrics, ClassificationMetrics):
        # areas are given in the order of the outputs, and so are rows and columns
        names = list(metrics.auc)
        for true, row in zip(names, metrics.confusion, strict=True):
            yield from _counts(true, names, row)


def _counts(true: str, names: list[str], row: Iterable[int]) -> Iterator[Number]:
    for taken_for, count in zip(names, row, strict=True):
        yield Number(section="confusion", name=f"taken for {taken_for}", of=true, value=float(count))


def _of_speed(report: Report) -> Iterator[Number]:
    if not report.speeds:
        yield Number(section=SPEED, name="time per image", value=report.ms_per_image, unit="ms")
    for one in report.speeds:
        of = "in a batch of one" if one.batch == 1 else f"in batches of {one.batch}"
        yield Number(section=SPEED, name="time per image", of=of, value=one.ms_per_image, unit="ms")


def _reach(low: float, high: float) -> str:
    return f"{low:.4g} to {high:.4g}"
