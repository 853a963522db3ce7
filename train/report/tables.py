"""The tables of a report: what is in each cell, and by what a column is sorted."""

from typing import NamedTuple

from schemas.calibration import Coverage
from schemas.metrics import ClassificationMetrics, Interval
from schemas.numbers import CONSTANT, METRICS, Number, numbers, score_words, unit_of, words_of
from schemas.report import Report
from storage.page.numbers import shown_unit, spell

# Shares that are read as percent, and areas that differ in the fourth place.
PERCENT = ("accuracy", "within", "covered", "right", "found")
FOUR_PLACES = ("auc", "precision")

# A constant finds as many as are called anomalous, which the name says already.
SAID = "found"
# what says how many there were, and not how good they are
COUNTS = ("samples",)


class Cell(NamedTuple):
    """What is written, what is written smaller below, and what it is sorted by."""

    text: str
    small: str = ""
    key: float | str = ""


class Table(NamedTuple):
    """A table with a line of headings; all columns but the first `named` are numbers."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    named: int = 1


def said(name: str, value: float) -> str:
    """A number as its kind is read: shares in percent, areas with four places."""
    first = name.split("_")[0]
    if first in PERCENT:
        return f"{100 * value:.1f}%"
    return f"{value:.4f}" if first in FOUR_PLACES else spell(value, 4)


def cell(number: Number | None) -> Cell:
    """A number with its interval below it."""
    if number is None:
        return Cell("")
    small = ""
    if number.low is not None and number.high is not None:
        small = f"{said(number.name, number.low)} to {said(number.name, number.high)}"
    return Cell(said(number.name, number.value), small, number.value)


def words(text: str) -> Cell:
    """A name, which is sorted by its letters."""
    return Cell(text, key=text.lower())


def tables(report: Report) -> tuple[Table, ...]:
    """What was measured: of all together, then by class or target."""
    rows = [one for one in numbers(report) if one.name not in COUNTS]
    return tuple(one for one in (_overall(rows), _apart(report, rows)) if one.rows)


def _overall(rows: list[Number]) -> Table:
    constant = {(one.name, one.of): one for one in rows if one.section == CONSTANT}
    found = [one for one in rows if one.section == METRICS and not one.of]
    return Table(
        "All together",
        ("metric", "value", "a constant"),
        tuple((words(one.words), cell(one), cell(constant.get((one.name, one.of)))) for one in found),
    )


def _apart(report: Report, rows: list[Number]) -> Table:
    """A row for each class or target, a column for each metric, its constant's beside it."""
    shown = [one for one in rows if one.section in (METRICS, CONSTANT) and one.of]
    shown = [one for one in shown if one.section == METRICS or not one.name.startswith(SAID)]
    order = list(dict.fromkeys(one.name for one in shown))
    columns = [
        (section, name) for name in order for section in (METRICS, CONSTANT) if _differs(shown, section, name)
    ]
    known = {(one.section, one.name, one.of): one for one in shown}
    kind = "target" if report.metrics.kind == "regression" else "class"
    body = tuple(
        (_named(known, of), *(cell(known.get((*column, of))) for column in columns))
        for of in dict.fromkeys(one.of for one in shown)
    )
    return Table(f"By {kind}", (kind, *(_heading(report, section, name) for section, name in columns)), body)


def _differs(shown: list[Number], section: str, name: str) -> bool:
    return any((one.section, one.name) == (section, name) for one in shown)


def _named(known: dict[tuple[str, str, str], Number], of: str) -> Cell:
    """A class by its name, a target with its unit."""
    unit = next((one.unit for key, one in known.items() if key[2] == of and one.unit not in ("1", "%")), "1")
    return Cell(of, shown_unit(unit), of.lower())


def _heading(report: Report, section: str, name: str) -> str:
    metrics = report.metrics
    text = words_of(name)
    if section == CONSTANT:
        return f"{text} of a constant"
    if name == "auc":
        rest = "one against the rest"
        return f"{text}, {rest if isinstance(metrics, ClassificationMetrics) else 'against ordinary ones'}"
    return f"{text}, %" if "percentage" in name else text


def baseline_table(report: Report) -> Table:
    """What something simpler scores, and how much the model is better."""
    body = tuple(
        (
            words(one.what),
            words(score_words(score.name)),
            _cell(score.name, score.value, score.unit),
            _cell(score.name, one.gain[score.name], score.unit) if score.name in one.gain else Cell(""),
        )
        for one in report.baselines
        for score in one.scores
    )
    own = tuple(
        (words("the model"), words(score_words(one.name)), _cell(one.name, one.value, one.unit), Cell(""))
        for one in report.scores
    )
    return Table("", ("what", "score", "value", "the model is better by"), own + body, named=2)


def bound_table(report: Report) -> Table:
    """The best observer beside the model, pair by pair."""
    return Table(
        "",
        ("class", "against", "best possible AUC", "AUC of the model"),
        tuple(
            (words(one.name), words(one.against), _cell("auc", one.ideal), _cell("auc", one.model))
            for one in report.bounds
        ),
        named=2,
    )


def confused_table(report: Report) -> Table:
    """What is taken for what."""
    return Table(
        "",
        ("true", "taken for", "they differ in", "samples", "of the class"),
        tuple(
            (
                words(one.true),
                words(one.taken_for),
                words(one.differs),
                Cell(f"{one.samples:,}", key=one.samples),
                Cell(f"{one.share:.1%}", key=one.share),
            )
            for one in report.confused
        ),
        named=3,
    )


def coverage_table(report: Report) -> Table:
    """How many true values predicted intervals hold, or how many ordinary images a threshold."""
    coverage = report.reliability.coverage if report.reliability is not None else ()
    if report.metrics.kind == "anomaly":
        return _threshold_table(coverage)
    # only a model that predicts its own spread has intervals without calibration
    raw = any(one.before is not None for one in coverage)
    return Table(
        "",
        ("target", "should hold", "holds", *(("not calibrated",) if raw else ()), "median width"),
        tuple(
            (
                words(one.target),
                Cell(f"{one.level:.1%}", key=one.level),
                _cell("covered", one.covered),
                *((_share(one.before),) if raw else ()),
                Cell(
                    f"{spell(one.width, 4)} {shown_unit(unit_of(report, one.target))}".rstrip(), key=one.width
                ),
            )
            for one in coverage
        ),
    )


def _share(value: float | None) -> Cell:
    return Cell("") if value is None else Cell(said("covered", value), key=value)


def _threshold_table(coverage: tuple[Coverage, ...]) -> Table:
    return Table(
        "",
        ("threshold of the anomaly score", "ordinary images that should be below", "that are below"),
        tuple(
            (
                Cell(spell(one.width, 4), key=one.width),
                Cell(f"{one.level:.1%}", key=one.level),
                _cell("covered", one.covered),
            )
            for one in coverage
        ),
    )


def speed_table(report: Report) -> Table:
    """Milliseconds per image by size of batch."""
    return Table(
        "",
        ("device", "images at once", "ms per image", "images per second"),
        tuple(
            (
                words(one.device),
                Cell(f"{one.batch:,}", key=one.batch),
                Cell(spell(one.ms_per_image), key=one.ms_per_image),
                Cell(f"{1000 / one.ms_per_image:,.0f}" if one.ms_per_image else "", key=-one.ms_per_image),
            )
            for one in report.speeds
        ),
    )


def look_table(report: Report) -> Table:
    """Evaluations on these samples that were there before."""
    return Table(
        "",
        ("when", "experiment", "run", "weights", "score"),
        tuple(
            (
                words(one.at.replace("T", " ").removesuffix("+00:00")),
                words(one.experiment),
                words(one.run),
                words(one.weights_sha256[:12]),
                _cell(one.scores[0].name, one.scores[0].value, one.scores[0].unit)
                if one.scores
                else Cell(""),
            )
            for one in report.looks
        ),
        named=4,
    )


def _cell(name: str, value: Interval, unit: str = "1") -> Cell:
    return Cell(
        f"{said(name, value.value)} {shown_unit(unit)}".rstrip(),
        f"{said(name, value.low)} to {said(name, value.high)}",
        value.value,
    )
