"""Which evaluations the same samples have seen before: there are no silent second tries.

Each look at a split is a line in `RUN/looks.jsonl`, which goes where the run goes, and in a ledger of this
machine, which knows the other runs. Lines are added and never changed.
"""

import logging
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from schemas.errors import WriteError
from schemas.metrics import Score
from schemas.report import Look
from storage.files.journal import append_line, read_lines
from storage.files.state import state_folder
from train.evaluation.measured import Measured

LOG = logging.getLogger(__name__)
LOOKS = "looks.jsonl"
LEDGERS = "looks"


def earlier_looks(measured: Measured, scores: tuple[Score, ...]) -> tuple[Look, ...]:
    """Evaluations on these samples that were there before, of any run and goal, oldest first."""
    digest, weights = measured.store.stored.digest, measured.run.record.weights_sha256
    known = {*_read(measured.run.root / LOOKS), *_read(_ledger(measured))}
    here = [look for look in known if (look.store_digest, look.split) == (digest, measured.split)]
    return tuple(
        look.model_copy(
            update={"again": look.weights_sha256 == weights, "same_goal": _asks(look, measured, scores)}
        )
        for look in sorted(here, key=lambda look: look.at)
    )


def _asks(look: Look, measured: Measured, scores: tuple[Score, ...]) -> bool:
    """Whether a look has a score that is asked for here, of the same classes."""
    # looks of before classes were written down are counted rather than passed over
    alike = look.labels in ((), measured.run.objective.labels)
    return alike and not {one.name for one in look.scores}.isdisjoint(one.name for one in scores)


def record_look(measured: Measured, scores: tuple[Score, ...]) -> None:
    """Write down that these samples were looked at. Without the ledger of the machine a warning must do."""
    record = measured.run.record
    look = Look(
        # finer than a report's own time, so that two looks of one second are two
        at=datetime.now(UTC).isoformat(timespec="microseconds"),
        run=str(measured.run.root.resolve()),
        experiment=record.experiment.name,
        experiment_digest=record.experiment_digest,
        weights_sha256=record.weights_sha256,
        scores=scores,
        model=record.experiment.model.name,
        store_digest=measured.store.stored.digest,
        split=measured.split,
        labels=measured.run.objective.labels,
    )
    line = look.model_dump_json(exclude={"again", "same_goal"})
    append_line(measured.run.root / LOOKS, line)
    try:
        append_line(_ledger(measured), line)
    except WriteError as error:
        LOG.warning("other runs will not know of this look at the %s split: %s", measured.split, error.found)


def _ledger(measured: Measured) -> Path:
    return state_folder() / LEDGERS / f"{measured.store.stored.digest}-{measured.split}.jsonl"


def _read(path: Path) -> list[Look]:
    """All looks of a file; lines that are none were torn by a kill, or are of a later version."""
    try:
        lines = read_lines(path)
    except OSError as error:
        LOG.warning("earlier looks are unknown: cannot read %s: %s", path, error.strerror or error)
        return []
    return [look for line in lines if (look := _parsed(line)) is not None]


def _parsed(line: str) -> Look | None:
    try:
        return Look.model_validate_json(line)
    except ValidationError:
        return None
