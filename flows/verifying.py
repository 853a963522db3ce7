"""All stores and runs below a folder, byte by byte: what a disk does to data is found before it is needed."""

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from prefect import flow
from pydantic import Field, ValidationError

from flows.clusters.local import Workers
from flows.forms import ClusterForm, WorkersForm
from flows.repair import repair as repair_store
from flows.telling.events import watched
from flows.telling.run_log import Gauge, say, show_table
from flows.unattended import persevering, told
from schemas.cluster import AnyCluster
from schemas.errors import (
    LensmillError,
    StoreDamagedError,
    StoreUnfinishedError,
    StoreUnreachableError,
)
from schemas.frozen import Frozen
from schemas.run import RunRecord
from storage.commit import MARKER
from storage.files.place import Root, place
from storage.upkeep.inventory import stores_below
from storage.upkeep.verification import record
from storage.upkeep.versions import VERSION, has_book, read_book
from storage.verify import Verification, verify

WEIGHTS, RECORD = "weights.safetensors", "run.json"
Look = Callable[[Root], Verification]
# Shown of a store with thousands of faults.
SHOWN = 200


class Checked(Frozen):
    """What was found of one store or run."""

    path: str
    kind: Literal["store", "run"]
    state: Literal[
        "sound", "damaged", "repaired", "unfinished", "set aside", "removed", "unreadable", "unreachable"
    ]
    faults: int = Field(default=0, ge=0)
    first: str = Field(default="", description="the first fault, or what keeps us from knowing")
    rows: int = Field(default=0, ge=0)
    bytes: int = Field(default=0, ge=0)

    @property
    def bad(self) -> bool:
        """Whether somebody has to do something."""
        return self.state in ("damaged", "unreadable", "unreachable")


class Inspection(Frozen):
    """What was found below a folder."""

    folder: str
    checked: tuple[Checked, ...]

    @property
    def bad(self) -> tuple[Checked, ...]:
        """What somebody has to see to."""
        return tuple(one for one in self.checked if one.bad)


@watched
@flow(name="verify-all", validate_parameters=True)
@told
def verify_all_flow(
    folder: Annotated[str, Field(min_length=1, examples=["runs", "s3://bucket/data"])] = "runs",
    repair: bool = False,
    workers: WorkersForm = None,
    cluster: ClusterForm = None,
) -> Inspection:
    """Verify every store and the weights of every run below a folder; ends Failed if any is damaged.

    Unfinished stores are told and are no fault; neither are versions that the regeneration has set aside, nor
    what is removed meanwhile.

    Args:
        folder: A folder with stores and runs below it, or an `s3://` URL.
        repair: Make what is damaged of a store again, where the same bytes come out.
        workers: Worker processes on this machine for repairs; one per core when left out.
        cluster: Where shards are made again; on the machine of the flow when left out.
    """
    found = inspect(place(folder), repair, workers, cluster)
    refuse_damage(found)
    return found


def inspect(
    root: Root, repair: bool = False, workers: Workers = None, cluster: AnyCluster | None = None
) -> Inspection:
    """Everything below a folder, one after the other; nothing that is found ends it."""
    stores, runs, aside = _listed(root)
    checked: list[Checked] = []
    look = persevering(verify)
    total = len(stores) + len(runs)
    gauge = Gauge("verify-all", f"{root}: {total} to check")
    for one in stores:
        checked.append(_check_store(one, one in aside, look, repair, workers, cluster))
        if checked[-1].state == "unreachable":
            # its server was waited for; what else is there is asked for once
            look = verify
        _tell(checked, total, gauge)
    for run in runs:
        checked.append(_check_run(run))
        _tell(checked, total, gauge)
    found = Inspection(folder=str(root), checked=tuple(checked))
    worst_first = sorted(checked, key=lambda one: not one.bad)
    rows = [one.model_dump() for one in worst_first[:SHOWN]]
    show_table("verification", rows, headline(found))
    return found


@persevering
def _listed(root: Root) -> tuple[list[Root], list[Path], set[Root]]:
    """Stores, runs, and those of the stores that are set aside."""
    stores = list(stores_below(root))
    return stores, list(_runs_below(root)), _set_aside(stores)


def headline(found: Inspection) -> str:
    """One line: how many there are of each state."""
    states = [one.state for one in found.checked]
    counts = [f"{states.count(state)} {state}" for state in dict.fromkeys(sorted(states))]
    size = sum(one.bytes for one in found.checked)
    return f"{found.folder}: {', '.join(counts) or 'nothing is there'}, {size / 1e9:,.2f} GB of stores"


def refuse_damage(found: Inspection) -> None:
    """An error that names everything that is damaged and what to do, if anything is."""
    if not found.bad:
        return
    lines = [f"  - {one.path}: {one.first}" for one in found.bad]
    verb = "are" if len(found.bad) > 1 else "is"
    away = [one for one in found.bad if one.state == "unreachable"]
    what = f"{verb} damaged" + (f" or cannot be reached ({len(away)})" if away else "")
    if len(away) == len(found.bad):
        raise StoreUnreachableError(
            "\n".join((f"{len(away)} of {len(found.checked)} stores and runs cannot be reached", *lines)),
            where=found.folder,
            advice="nothing is known of them: see to their server, then run this again",
        )
    raise StoreDamagedError(
        "\n".join((f"{len(found.bad)} of {len(found.checked)} stores and runs {what}", *lines)),
        where=found.folder,
        advice="of a store: `lensmill repair STORE`, or this with repair; of a run: restore it from a copy,"
        " or train again",
    )


def _check_store(
    root: Root, aside: bool, look: Look, repair: bool, workers: Workers, cluster: AnyCluster | None
) -> Checked:
    found = _verified(root, look)
    if aside:
        return found.model_copy(update={"state": "set aside"})
    if found.state != "damaged" or not repair:
        return found
    try:
        repair_store(root, workers, True, cluster=cluster)
    except LensmillError as error:
        return found.model_copy(update={"first": f"{found.first}; repair: {error.found}"})
    again = _verified(root, look)
    return again.model_copy(update={"state": "repaired"}) if again.state == "sound" else again


def _verified(root: Root, look: Look) -> Checked:
    """What is found of a store; a version may be removed while it is read, which takes its seal first."""
    found = _looked_at(root, look)
    if found.state not in ("damaged", "unreadable") or (root / MARKER).is_file():
        return found
    taken = {"state": "removed", "first": "it was removed while it was checked", "faults": 0}
    return found.model_copy(update=taken)


def _looked_at(root: Root, look: Look) -> Checked:
    def found_as(state: str, **more: Any) -> Checked:
        return Checked.model_validate({"path": str(root), "kind": "store", "state": state} | more)

    try:
        found = look(root)
    except StoreUnreachableError as error:
        return found_as("unreachable", first=error.found)
    except StoreUnfinishedError as error:
        return found_as("unfinished", first=error.found)
    except StoreDamagedError as error:
        return found_as("damaged", faults=1, first=error.found)
    except LensmillError as error:
        return found_as("unreadable", first=error.found)
    if (root / MARKER).is_file():
        # else the record would be all that is left of a store that was removed meanwhile
        record(root, found)
    state = "sound" if found.sound else "damaged"
    first = found.faults[0] if found.faults else ""
    return found_as(state, faults=len(found.faults), first=first, rows=found.rows, bytes=found.bytes)


def _set_aside(stores: list[Root]) -> set[Root]:
    """Versions that may not be used anyway, by the books of their folders."""
    aside: set[Root] = set()
    for folder in {one.parent for one in stores if VERSION.fullmatch(one.name)}:
        if not has_book(folder):
            continue
        try:
            book = read_book(folder)
        except StoreUnreachableError:
            raise
        except LensmillError as error:
            say(str(error), bad=True)
            continue
        bad = {one.number for one in book.there if one.state not in ("good", "sealed")}
        for one in stores:
            name = VERSION.fullmatch(one.name)
            if one.parent == folder and name and int(name[1]) in bad:
                aside.add(one)
    return aside


def _runs_below(root: Root) -> Iterator[Path]:
    """Finished runs; there are none on S3."""
    if isinstance(root, Path):
        for here, below, names in os.walk(root):
            below.sort()
            if RECORD in names:
                below.clear()
                yield Path(here)


def _check_run(run: Path) -> Checked:
    """The record, and the weights against the sum in it."""

    def found_as(state: str, first: str = "") -> Checked:
        values = {"path": str(run), "kind": "run", "state": state, "first": first, "faults": int(bool(first))}
        return Checked.model_validate(values)

    try:
        wanted = RunRecord.model_validate_json((run / RECORD).read_bytes()).weights_sha256
        same = _sha256(run / WEIGHTS) == wanted
    except ValidationError:
        return found_as("damaged", f"{RECORD} is not what lensmill wrote")
    except OSError as error:
        if not run.is_dir():
            return found_as("removed")
        return found_as("damaged", f"{Path(error.filename or WEIGHTS).name}: {error.strerror}")
    return (
        found_as("sound")
        if same
        else found_as("damaged", f"{WEIGHTS} is not the file that {RECORD} describes")
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _tell(checked: list[Checked], total: int, gauge: Gauge) -> None:
    one = checked[-1]
    about = f": {one.first}" if one.first else ""
    say(f"{len(checked)} of {total}: {one.path} is {one.state}{about}", bad=one.bad)
    gauge.tell(100 * len(checked) / total)
