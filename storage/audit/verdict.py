"""All questions of an audit asked, and which answers fail it."""

from collections import defaultdict
from collections.abc import Callable
from itertools import combinations

import numpy as np
from threadpoolctl import threadpool_limits

from schemas.audit import Audit, AuditRow
from schemas.errors import LeakError
from storage.audit.evidence import Evidence
from storage.audit.questions import constant, questions_of
from storage.audit.separation import smallest_found

# A sound data set fails with at most this probability, all tests together (Bonferroni).
LEVEL = 0.01
ENOUGH = 5_000
SHOWN = 6
ADVICE = (
    "draw what is named from the same prior in every class, let compensate_mass be true in the recipe, and"
    " simulate again"
)
ADVICE_IMPORTED = "take out of the data what is named, or ask those who made them; then import again"


def audit(
    evidence: Evidence, strict: bool = False, progress: Callable[[int], None] = lambda _: None
) -> Audit:
    """Whether anything but the substructure tells the classes apart; `strict` lets image statistics gate."""
    questions = questions_of(evidence, strict)
    tests = sum(question.tests for question in questions)
    rows = []
    # many small systems of equations: threads wait for each other ten times as long as they work
    with threadpool_limits(1, "blas"):
        for done, question in enumerate(questions, start=1):
            rows.append(question.ask(LEVEL / tests))
            progress(done)
    numbers = evidence.columns | evidence.statistics
    missing = {name: int((~np.isfinite(values)).sum()) for name, values in numbers.items()}
    smallest = _smallest(evidence, LEVEL / max(tests, 1))
    constants = tuple(name for name, values in evidence.columns.items() if constant(values))
    return Audit(
        about=evidence.about,
        samples=evidence.samples,
        strict=strict,
        level=LEVEL,
        tests=tests,
        smallest_auc=smallest,
        rows=tuple(rows),
        constant=constants,
        missing={name: count for name, count in missing.items() if count},
        own=evidence.own,
        leaks=(*_uncompensated(evidence), *leaks_of(rows)),
        notes=(*evidence.notes, *_notes(evidence, constants, rows)),
        warnings=_warnings(evidence, smallest),
    )


def refuse_leaks(found: Audit) -> None:
    """An error that names what gives the label away, if anything does."""
    if found.passed:
        return
    shown = found.leaks[:SHOWN]
    more = [f"and {len(found.leaks) - SHOWN} more"] if len(found.leaks) > SHOWN else []
    raise LeakError(
        f"labels leak: {'; '.join([*shown, *more])}",
        expected=f"classes that differ in the substructure alone (a sound data set fails once in"
        f" {1 / found.level:.0f} audits)",
        where=found.about.store,
        advice=ADVICE_IMPORTED if found.about.family == "imported" else ADVICE,
    )


def leaks_of(rows: list[AuditRow]) -> tuple[str, ...]:
    """One line for each subject that fails: all its pairs, with the area of the worst."""
    by_subject: dict[str, list[AuditRow]] = defaultdict(list)
    for row in rows:
        if row.verdict == "leak":
            by_subject[row.subject].append(row)
    return tuple(f"{subject} ({_pairs(found)})" for subject, found in by_subject.items())


def _pairs(rows: list[AuditRow]) -> str:
    return ", ".join(f"{row.first}/{row.second} AUC {row.worst.auc:.3f}{_of(row)}" for row in rows)


def _of(row: AuditRow) -> str:
    return " of the distance from the median" if row.worst.of == "distance" else ""


def _uncompensated(evidence: Evidence) -> tuple[str, ...]:
    """Mass on top of the smooth lens is a leak by what the store says of itself; no test is needed."""
    if not evidence.uncompensated:
        return ()
    names = ", ".join(evidence.uncompensated)
    return (f"total mass ({names}: nothing was taken from the smooth lens for the substructure's)",)


def _smallest(evidence: Evidence, level: float) -> float:
    counts = evidence.samples
    return max(smallest_found(counts[a], counts[b], level) for a, b in combinations(counts, 2))


def _notes(evidence: Evidence, constants: tuple[str, ...], rows: list[AuditRow]) -> tuple[str, ...]:
    notes = []
    if constants:
        varying = [name for name in evidence.columns if name not in constants]
        notes.append(
            f"{len(constants)} of {len(evidence.columns)} columns are constant; what varies:"
            f" {', '.join(varying) or 'nothing'}"
        )
    easiest: dict[tuple[str, str], AuditRow] = {}
    for row in rows:
        if row.verdict == "separable":
            best = easiest.setdefault((row.first, row.second), row)
            if row.worst.distance > best.worst.distance:
                easiest[row.first, row.second] = row
    for (first, second), row in easiest.items():
        how = f"{row.subject} alone, AUC {row.worst.auc:.3f}"
        notes.append(f"{first}/{second} can be told apart without a deep network: by {how}")
    return tuple(notes)


def _warnings(evidence: Evidence, smallest: float) -> tuple[str, ...]:
    fewest = min(evidence.samples.values())
    if fewest >= ENOUGH:
        return ()
    return (
        f"only {fewest:,} samples in the smallest class, {ENOUGH:,} are advised: a difference below"
        f" AUC {smallest:.3f} can go unseen",
    )
