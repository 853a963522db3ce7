"""The card of a model: what was found about it, as JSON and as a page."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from schemas.card import Card, CardData, CardEvaluation, OnnxFile
from schemas.metrics import Metrics, Score
from schemas.numbers import METRICS, Number, numbers_of_metrics, score_words, words_of
from schemas.report import Report
from schemas.run import RunRecord
from storage.importing.faults import counted
from storage.page.numbers import shown_unit
from storage.reader import Store
from train.records.run_folder import REPORTS, Run

NO_LICENCE = "Not stated by whoever exported it; the code that made it, lensmill, is under BSD-3-Clause"
FAMILY_LIMITS = {
    "replica": "Trained on replica data, a published simulator constant for constant: a score on it says"
    " little about real lenses.",
    "survey": "Trained on simulated images alone: real ones have neighbours, artefacts and other things"
    " that no simulation of lensmill has.",
    "imported": "Trained on imported images: lensmill knows nothing of how they came about.",
    None: "Of which family the training data are is not known: they were not there at the export. If they"
    " were simulated, a score on them says little about real lenses.",
}


def card_of(
    run: Run, store: Store | None, onnx: OnnxFile | None, licence: str, remarks: Sequence[str]
) -> Card:
    """Everything that is known of a run; `store` is that of its training, if it is there."""
    record = run.record
    evaluation, unread = _latest_report(run.root)
    family = None if store is None else store.origin.family
    data = record.data
    weights = record.initial_weights
    return Card(
        name=record.experiment.name,
        description=record.experiment.description,
        model=record.experiment.model.name,
        parameters=record.parameters,
        predicts=tuple(run.objective.predictions(np.zeros((1, _width(run))))),
        experiment_digest=record.experiment_digest,
        weights_sha256=record.weights_sha256,
        starts_from=None if weights is None else f"{Path(weights.source).name}, SHA-256 {weights.sha256}",
        data=CardData(
            recipe_name=data.recipe_name,
            recipe_digest=data.recipe_digest,
            family=family,  # type: ignore[arg-type]
            seed=data.seed,
            samples=data.train_samples,
            image_shape=data.image_shape,
            bands=data.bands,
            pixel_scale_arcsec=data.pixel_scale_arcsec,
            classes=data.classes,
        ),
        calibration=record.calibration,
        evaluation=evaluation,
        onnx=onnx,
        limits=tuple(_limits(record, family, evaluation)),
        versions=record.versions,
        licence=licence,
        remarks=(*remarks, *unread),
        at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _width(run: Run) -> int:
    """How many numbers the network gives; an autoencoder always three."""
    return 3 if run.record.head.kind == "anomaly" else run.objective.outputs


def _latest_report(root: Path) -> tuple[CardEvaluation | None, tuple[str, ...]]:
    """The newest of a run's reports, and which of them cannot be read."""
    found: list[Report] = []
    unread: list[str] = []
    for path in sorted((root / REPORTS).glob("*/report.json")):
        try:
            found.append(Report.model_validate_json(path.read_bytes()))
        except (OSError, ValidationError):
            unread.append(f"the report {path.parent.name} cannot be read and was left out")
    if not found:
        return None, tuple(unread)
    latest = max(found, key=lambda report: report.at or "")
    content = {name: getattr(latest, name) for name in CardEvaluation.model_fields}
    return CardEvaluation(**content), tuple(unread)


def _limits(record: RunRecord, family: str | None, evaluation: CardEvaluation | None) -> Iterator[str]:
    data = record.data
    channels, rows, columns = data.image_shape
    yield f"Images of {columns} x {rows} pixels with {counted(channels, 'channel')}, no other."
    if data.bands:
        yield f"Channels are the bands {', '.join(data.bands)}, in this order."
    if data.pixel_scale_arcsec is None:
        yield "How large a pixel of the training images is on the sky is not known."
    else:
        yield f"Pixels of {data.pixel_scale_arcsec:g} arcsec; its answers on others mean nothing."
    yield "Pixel values in the unit of the training data: nothing can check that."
    yield FAMILY_LIMITS[family]
    if record.experiment.data.labels == "shuffled":
        yield "Its labels were shuffled in training: it is a control and knows nothing."
    if record.calibration is None:
        yield "Nothing was calibrated: probabilities and errors are what the network thinks of itself."
    if evaluation is None:
        yield "There was no report when it was exported: how good it is nobody said."


def page_of(card: Card) -> str:
    """The same for people, as Markdown."""
    parts = [
        f"# {card.name}",
        card.description.strip(),
        f"`{card.model}`, {card.parameters:,} parameters. A prediction has the columns"
        f" {', '.join(f'`{name}`' for name in card.predicts)}.",
        "## Trained on",
        _table(_data_rows(card)),
        "## How good",
        _evaluation(card),
        "## Limits",
        "\n".join(f"- {one}" for one in card.limits),
        "## Use",
        _use(card),
        "## Made with",
        _table([(name, version) for name, version in card.versions.items()]),
        "## Licence",
        card.licence,
        *(["## Left out", "\n".join(f"- {one}" for one in card.remarks)] if card.remarks else []),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(rows: Sequence[tuple[str, str]], head: tuple[str, str] = ("what", "value")) -> str:
    lines = [f"| {head[0]} | {head[1]} |", "|---|---|"]
    return "\n".join(lines + [f"| {name} | {value} |" for name, value in rows])


def _data_rows(card: Card) -> list[tuple[str, str]]:
    data = card.data
    rows = [
        ("data", f"{data.recipe_name} ({data.family or 'of unknown family'})"),
        ("recipe digest", f"`{data.recipe_digest}`"),
        ("seed", str(data.seed)),
        ("images", f"{data.samples:,}"),
        ("classes", ", ".join(one.name for one in data.classes)),
        ("experiment digest", f"`{card.experiment_digest}`"),
        ("weights, SHA-256", f"`{card.weights_sha256}`"),
    ]
    return rows + ([("started from", card.starts_from)] if card.starts_from else [])


def _evaluation(card: Card) -> str:
    found = card.evaluation
    if found is None:
        return "No report was there: `lensmill evaluate RUN --data STORE` before the export makes one."
    same = "the recipe that it was trained on" if found.same_recipe else "another recipe than the training's"
    parts = [
        f"Measured on {found.samples:,} images of the {found.split} split of {found.store_recipe}, {same}"
        f" (digest `{found.store_digest[:12]}`{', ' + found.at if found.at else ''}).",
        "\n".join(
            [
                "| score | value | 95% interval | knowing nothing |",
                "|---|---|---|---|",
                *(
                    f"| {_named(one.name, one.unit)} | {one.value.value:.4g}"
                    f" | {one.value.low:.4g} to {one.value.high:.4g} | {one.chance:.4g} |"
                    for one in found.scores
                ),
            ]
        ),
    ]
    parts += _by_class(found.metrics)
    if found.bounds:
        parts.append("\n".join(f"- {one}" for one in found.bounds))
    if card.calibration is not None:
        what = {
            "temperature": "Probabilities are calibrated",
            "conformal": "Intervals of predictions are fitted",
            "thresholds": "Thresholds of the score are fitted",
        }[card.calibration.kind]
        parts.append(f"{what} on {card.calibration.samples:,} validation images.")
    if found.baselines:
        rows = [(one.what, ", ".join(map(_scored, one.scores))) for one in found.baselines]
        parts.append(_table(rows, ("baseline", "scores and 95% intervals")))
    told = [f"- **{one.severity}**: {one.text}" for one in found.flags]
    told += [f"- {one}" for one in found.warnings]
    return "\n\n".join([*parts, *(["\n".join(told)] if told else [])])


def _by_class(metrics: Metrics | None) -> list[str]:
    """A table with a row for each class or target and a column for each metric; none where there is none."""
    rows = (
        [one for one in numbers_of_metrics(metrics) if one.section == METRICS and one.of] if metrics else []
    )
    names = [one for one in dict.fromkeys(row.name for row in rows) if one != "samples"]
    if not rows or metrics is None:
        return []
    known = {(row.of, row.name): row for row in rows}
    kind = "target" if metrics.kind == "regression" else "class"
    lines = [f"| {' | '.join((kind, *map(words_of, names)))} |", "|---" * (len(names) + 1) + "|"]
    for of in dict.fromkeys(row.of for row in rows):
        cells = (_cell(known.get((of, name))) for name in names)
        lines.append(f"| {' | '.join((of, *cells))} |")
    return ["\n".join(lines)]


def _cell(one: Number | None) -> str:
    if one is None:
        return ""
    interval = "" if one.low is None or one.high is None else f" [{one.low:.4g}, {one.high:.4g}]"
    return f"{one.value:.4g}{interval} {shown_unit(one.unit)}".rstrip()


def _scored(one: Score) -> str:
    value = one.value
    found = f"{score_words(one.name)} {value.value:.4g} [{value.low:.4g}, {value.high:.4g}]"
    return f"{found} {shown_unit(one.unit)}".rstrip()


def _named(name: str, unit: str) -> str:
    return f"{score_words(name)} [{unit}]" if shown_unit(unit) else score_words(name)


def _use(card: Card) -> str:
    python = (
        "```python\nfrom train.release import load_model\n\n"
        'model = load_model("FOLDER")  # this one\n'
        "table = model.predict(images)  # (n, y, x) or (n, channels, y, x)\n```"
    )
    command = "```bash\nlensmill predict FOLDER images.fits --out predictions.csv\n```"
    if card.onnx is None:
        return f"{python}\n\n{command}"
    outputs = "; ".join(f"`{name}` ({', '.join(columns)})" for name, columns in card.onnx.outputs.items())
    told = (
        f"Without lensmill: `{card.onnx.file}` takes `{card.onnx.input}`, float32 (n, channels, y, x),"
        f" and gives {outputs}"
    )
    checked = ", not compared with torch."
    if card.onnx.checked_images:
        checked = (
            f". Compared with torch on {card.onnx.checked_images} images ({card.onnx.checked_on}): at most"
            f" {card.onnx.largest_difference:.1g} of the largest value apart."
        )
    return f"{python}\n\n{command}\n\n{told}{checked}"
