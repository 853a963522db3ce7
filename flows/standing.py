"""How things stand below a folder and in the service, from books alone: no array is read."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flows.serving.service_standing import service_standing
from schemas.errors import LensmillError
from schemas.numbers import score_words
from schemas.standing import RunStanding, Standing, StoreStanding
from schemas.store import Manifest, StorePlan
from storage import commit, layout
from storage.files.place import Root, place
from storage.upkeep.inventory import stores_below
from storage.upkeep.versions import VERSION, is_finished, latest_of, numbers, read_book

# A manifest above it lists tens of thousands of shards and takes seconds to read: the plan tells the bytes.
MOST_MANIFEST_BYTES = 4 << 20
RECORD, IDENTITY, REPORT = "run.json", "identity.json", "report.json"


def status(folder: str | Root, ask: bool = True) -> Standing:
    """Service, stores and runs; a folder that is not there has none. `ask`: whether to ask the service."""
    root = place(folder)
    there = root.is_dir()
    return Standing(
        folder=str(root),
        free_bytes=_free(root),
        service=service_standing(ask),
        stores=tuple(_stores(root)) if there else (),
        runs=tuple(_runs(root)) if there and isinstance(root, Path) else (),
    )


def _free(root: Root) -> int | None:
    if not isinstance(root, Path):
        return None
    existing = next(path for path in (root, *root.absolute().parents) if path.exists())
    return shutil.disk_usage(existing).free


def _stores(root: Root) -> Iterator[StoreStanding]:
    """Stores by themselves, and all versions of a folder as one."""
    told: set[str] = set()
    for store in stores_below(root):
        if not VERSION.fullmatch(store.name):
            yield _store(store)
        elif str(store.parent) not in told:
            told.add(str(store.parent))
            yield _versions(store.parent)


def _versions(folder: Root) -> StoreStanding:
    latest, plans = latest_of(folder), [folder / f"v{one:04d}.zarr" for one in numbers(folder)]
    try:
        there = read_book(folder).there
    except LensmillError as error:
        return StoreStanding(
            path=str(folder),
            recipe="",
            state=error.found,
            rows=0,
            planned=0,
            bytes=0,
            versions=len(plans),
            latest=latest,
        )
    states = [one.state for one in there]
    newest = there[0]
    sizes = {one.number: one.bytes or _store(folder / f"v{one.number:04d}.zarr").bytes for one in there}
    counted = [f"{states.count(one)} {one}" for one in dict.fromkeys(states) if one not in ("good", "sealed")]
    under_way = newest.state == "unfinished" and not is_finished(folder, newest.number)
    making = f"{newest.number}: {_store(folder / f'v{newest.number:04d}.zarr').state}" if under_way else ""
    return StoreStanding(
        path=str(folder),
        recipe=newest.recipe,
        state=", ".join(filter(None, [making, *(one for one in counted if "unfinished" not in one)]))
        or "good",
        rows=sum(one.rows for one in there),
        planned=sum(one.rows for one in there),
        bytes=sum(sizes.values()),
        versions=len(there),
        latest=latest,
    )


def _store(root: Root) -> StoreStanding:
    try:
        plan = commit.read_json(root / commit.PLAN, StorePlan)
    except LensmillError as error:
        return StoreStanding(path=str(root), recipe="", state=error.found, rows=0, planned=0, bytes=0)
    planned, shards = sum(one.rows for one in plan.splits), layout.shard_count(plan)
    finished = (root / commit.MARKER).is_file()
    done = shards if finished else sum(1 for _ in (root / commit.RECEIPTS).rglob("*.json"))
    size, exact = _bytes(root, plan, finished)
    return StoreStanding(
        path=str(root),
        recipe=plan.recipe_name,
        state="finished" if finished else f"unfinished, {done:,} of {shards:,} shards",
        rows=planned if finished else min(planned, done * plan.shard_rows),
        planned=planned,
        bytes=size if finished else size * done // shards,
        exact=exact,
    )


def _bytes(root: Root, plan: StorePlan, finished: bool) -> tuple[int, bool]:
    """By the manifest; by the plan where there is none, or it is too long to be read for a glance."""
    path = root / commit.MANIFEST
    if not finished or path.stat().st_size > MOST_MANIFEST_BYTES:
        return layout.store_bytes(plan), False
    try:
        receipts = commit.read_json(path, Manifest).receipts
    except LensmillError:
        return layout.store_bytes(plan), False
    return sum(file.size for one in receipts for file in one.files), True


def _runs(root: Path) -> Iterator[RunStanding]:
    """Finished runs, and those in training or interrupted."""
    for here, below, names in os.walk(root):
        below.sort()
        folder = Path(here)
        if (folder / commit.PLAN).is_file():
            below.clear()
        elif RECORD in names:
            below.clear()
            yield _run(folder)
        elif IDENTITY in names:
            below.clear()
            name = folder.name.removeprefix(".").removesuffix(".partial")
            path = str(folder.with_name(name))
            yield RunStanding(path=path, experiment=name, model="", data="", state="unfinished")


def _run(folder: Path) -> RunStanding:
    """What tables need of a record, read leniently: a glance must not fail on what newer code wrote."""
    record = _json(folder / RECORD)
    experiment, data = _part(record, "experiment"), _part(record, "data")
    reports = sorted(folder.glob(f"reports/*/{REPORT}"), key=lambda path: path.stat().st_mtime)
    newest = _json(reports[-1]) if reports else {}
    return RunStanding(
        path=str(folder),
        experiment=str(experiment.get("name", "")),
        model=str(_part(experiment, "model").get("name", "")),
        data=str(data.get("recipe_name", "")),
        state="finished" if record else "unreadable",
        score=_score(newest),
        headline=str(newest.get("headline", "")),
    )


def _score(report: dict[str, Any]) -> str:
    """The first score, and how many more there are."""
    scores = report.get("scores") or []
    try:
        told = f"{score_words(scores[0]['name'])} {scores[0]['value']['value']:.3g}"
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        # a report from before there were scores, or from a later version
        return str(report.get("headline", "")).partition(",")[0]
    return told + (f", {len(scores) - 1} more" if len(scores) > 1 else "")


def _part(record: dict[str, Any], key: str) -> dict[str, Any]:
    found = record.get(key)
    return found if isinstance(found, dict) else {}


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
