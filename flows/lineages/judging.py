"""Whether a version of a data set may be used: its bytes, mended where that can be, and its labels."""

from dataclasses import dataclass
from datetime import UTC, datetime

from flows.auditing import audit
from flows.clusters.local import Workers
from flows.repair import repair
from flows.telling.run_log import say
from schemas.cluster import AnyCluster
from schemas.dataset import DatasetRecipe
from schemas.errors import DataError, LeakError, StoreConflictError, StoreDamagedError, StoreUnfinishedError
from schemas.galaxy_image import GalaxyImage
from schemas.lineage import USABLE, Version
from storage.audit import refuse_leaks
from storage.commit import confirm_right
from storage.files.durable import write_whole
from storage.files.place import Root
from storage.upkeep.verification import record
from storage.upkeep.versions import (
    audit_path,
    gates,
    latest_of,
    name_latest,
    note,
    read_book,
    size_and_rows,
    version_name,
)
from storage.verify import verify


@dataclass(frozen=True)
class Bench:
    """A folder of versions, and with what those of a recipe are made and mended."""

    root: Root
    recipe: DatasetRecipe
    workers: Workers
    cluster: AnyCluster | None
    # whether an audit refuses leaks; None: as the recipe's family has it
    audit: bool | None

    def store(self, number: int) -> Root:
        """Where a version is."""
        return self.root / version_name(number)

    @property
    def galaxies(self) -> str | None:
        """The file of the recipe's galaxies, if it shows any."""
        source = self.recipe.source
        return source.file if isinstance(source, GalaxyImage) else None


def settle(bench: Bench) -> Version | None:
    """Let `latest` name the newest version that stands, and mark those that do not; None where none does.

    It goes back within its lineage alone: data of another recipe are no substitute.
    """
    book, latest = read_book(bench.root), latest_of(bench.root)
    named = book.find(latest)
    for version in book.there:
        related = named is None or version.number > named.number or version.lineage == named.lineage
        if version.state in USABLE and related and _stands(bench, version):
            if version.number != latest:
                name_latest(bench.root, version.number)
            return version
    return None


def _stands(bench: Bench, version: Version) -> bool:
    faults = faults_of(bench.store(version.number))
    if faults:
        say(f"version {version.number} is damaged: {faults[0]}; it is repaired", bad=True)
        faults = _mend(bench, version.number)
    if faults:
        note(bench.root, version.number, state="damaged", reason=faults[0], verified=None)
        say(f"version {version.number} is set aside, it cannot be repaired: {faults[0]}", bad=True)
        return False
    note(bench.root, version.number, verified=_now())
    return version.state == "good" or _passes(bench, version.number)


def faults_of(store: Root) -> tuple[str, ...]:
    """Everything that is wrong with a store, read byte by byte; kept in it for those who look later."""
    try:
        found = verify(store)
    except (StoreDamagedError, StoreUnfinishedError) as error:
        return (error.found,)
    unrecorded = record(store, found)
    if unrecorded:
        say(f"the result is not kept in the store: {unrecorded}", bad=True)
    return found.faults


def _mend(bench: Bench, number: int) -> tuple[str, ...]:
    """The faults that repair leaves."""
    try:
        repair(bench.store(number), bench.workers, True, bench.galaxies, cluster=bench.cluster)
    except (StoreDamagedError, StoreConflictError, DataError) as error:
        return (error.found,)
    return faults_of(bench.store(number))


def _passes(bench: Bench, number: int) -> bool:
    try:
        admit(bench, number)
    except LeakError as error:
        say(str(error), bad=True)
        return False
    return True


def admit(bench: Bench, number: int) -> Version:
    """Call a verified version good, if its labels do not leak; `latest` is not touched."""
    if bench.audit is False:
        return note(bench.root, number, state="good", reason="", audit=None)
    found = audit(bench.store(number), quiet=True)
    write_whole(audit_path(bench.root, number), found.to_json().encode())
    if found.passed:
        return note(bench.root, number, state="good", reason="", audit="passed")
    refused = gates(found, bench.audit)
    state = "leaks" if refused else "good"
    version = note(bench.root, number, state=state, audit="leaks", reason=f"labels leak: {found.leaks[0]}")
    if refused:
        refuse_leaks(found)
    say(f"version {number} is used although its labels leak, as in the data it repeats: {found.leaks[0]}")
    return version


def judge_new(bench: Bench, number: int) -> Version:
    """Verify and audit a version that was just made, and let `latest` name it."""
    store = bench.store(number)
    size, rows = size_and_rows(store)
    note(bench.root, number, state="sealed", made=_now(), bytes=size, rows=rows)
    faults = faults_of(store)
    if faults:
        note(bench.root, number, reason=faults[0])
        raise StoreDamagedError(
            f"version {number} is damaged: {faults[0]}",
            where=str(store),
            advice="the next run repairs it; if that happens again, look at the disk",
        )
    note(bench.root, number, verified=_now())
    version = admit(bench, number)
    # hours may have gone by
    confirm_right(bench.root)
    name_latest(bench.root, number)
    return version


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)
