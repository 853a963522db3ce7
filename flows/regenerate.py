"""The scheduled flow: the next version of a data set, with new samples from a seed of its own.

Version k takes the seed SHA-256(base seed, k) mod 2^53 and is a data set with its own digest. A version that
an earlier run left unfinished is completed first; `latest` names the newest that was verified and audited.
What a night does, in its order: `docs/regeneration.md`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from prefect import flow

from flows.catalogue import load_recipe
from flows.forms import (
    ClusterForm,
    KeepForm,
    LineageForm,
    NamesForm,
    OverridesForm,
    PlacementForm,
    RecipeForm,
    RunsForm,
    ToleranceForm,
    VersionForm,
    WorkersForm,
)
from flows.generate import simulate_flow
from flows.lineages.judging import Bench, judge_new, settle
from flows.lineages.retention import Retention, apply_policy
from flows.lineages.successors import check_training, follow_all
from flows.lineages.versions_page import key_of, page
from flows.orders import prepare, provenance
from flows.summary import DatasetSummary
from flows.telling.events import watched
from flows.telling.run_log import say, show
from flows.unattended import persevering, told, turn
from schemas.dataset import DatasetRecipe
from schemas.errors import (
    ColumnError,
    FlowError,
    LensmillError,
    RecipeError,
    SampleError,
    StoreConflictError,
    StoreDamagedError,
    first_line,
)
from schemas.lineage import USABLE, Keep, Version, lineage_digest, version_seed
from storage.files.place import Root, place
from storage.upkeep.versions import (
    LOCK,
    catch_up,
    has_book,
    is_finished,
    latest_of,
    next_version,
    note,
    numbers,
    read_book,
    version_name,
    write_book,
)

__all__ = ["next_version", "regenerate_flow", "version_name", "version_seed"]

KEEP = Keep()
# Of what a score gains over knowing nothing: less is no news, training alone differs by as much.
TOLERANCE = 0.05


@dataclass
class Memory:
    """What a night that is tried again must know of itself, since the folder does not tell it any more."""

    number: int | None = None
    book_was_lost: bool = False


@dataclass(frozen=True)
class Night:
    """What is to be made: a recipe's name with overrides, and where."""

    name: str | DatasetRecipe
    overrides: tuple[str, ...]
    bench: Bench
    memory: Memory = field(default_factory=Memory)

    def changed(self, number: int) -> list[str]:
        """The overrides that make the recipe that of a version."""
        return [*self.overrides, f"seed={version_seed(self.bench.recipe.seed, number)}"]


@watched
@flow(name="regenerate", validate_parameters=True)
@told
def regenerate_flow(
    recipe: RecipeForm,
    folder: LineageForm,
    workers: WorkersForm = None,
    overrides: OverridesForm = None,
    cluster: ClusterForm = None,
    new: bool = True,
    audit: bool | None = None,
    keep: KeepForm = KEEP,
    runs: RunsForm = None,
    experiments: NamesForm = None,
    tolerance: ToleranceForm = TOLERANCE,
    scores_since: VersionForm = 1,
    fail_on_regression: bool = False,
    placement: PlacementForm = None,
) -> DatasetSummary:
    """Make the next version below `folder`, verify and audit it, and let `latest` name it.

    Args:
        recipe: What to simulate: a shipped recipe (`lensmill recipes` tells what each makes), the path of a
            YAML file, or the whole recipe. Its seed is that of the lineage.
        folder: Where the versions are, a folder or an `s3://` URL.
        workers: Worker processes on this machine; one per core when left out. Unused with a `cluster`.
        overrides: Changes of the recipe, each as `key=value`, such as `samples_per_class=2000`.
        cluster: Where shards are made; on the machine of the flow when left out.
        new: Make a new version; else what is there is verified, repaired and completed.
        audit: Whether labels that leak refuse a version; when left out, they refuse one of a survey, and of
            a replica, whose labels leak as published, it is told. False does not look.
        keep: Which old versions stay. None goes that a run refers to.
        runs: Folders of runs that refer to versions, besides those below `folder`.
        experiments: What is trained on the new version and compared with the last one that was no regression.
        tolerance: How much worse than before a score may be, of what it gains over knowing nothing.
        scores_since: The first version whose scores count.
        fail_on_regression: End as failed when a score became worse by more.
        placement: Where models are trained and measured, whatever the experiments say: in the flow's process,
            on another work pool, or on a Dask worker with a GPU. As each experiment says when left out.
    """
    root = place(folder)
    base = load_recipe(recipe, overrides or [])
    check_training(root, experiments or [], placement)
    night = Night(recipe, tuple(overrides or []), Bench(root, base, workers, cluster, audit))
    made = _make_and_clear(night, new, keep, runs or [])
    follow_all(root, experiments or [], tolerance, scores_since, fail_on_regression, placement)
    return made


@persevering
def _make_and_clear(night: Night, new: bool, keep: Keep, runs: Sequence[str]) -> DatasetSummary:
    """The version, and whatever becomes of it the policy, so that failures do not fill the disk.

    Tried again it takes its turn again: a right to write on S3 may lapse while the server is away.
    """
    root, memory = night.bench.root, night.memory
    with turn(root, LOCK):
        # what `keep` listed is not known any more
        memory.book_was_lost |= bool(numbers(root)) and not has_book(root)
        applied = None if memory.book_was_lost else keep
        catch_up(root)
        try:
            made = _next(night, new)
        except Exception as error:
            _clear(root, applied, runs, first_line(error))
            raise
        _clear(root, applied, runs, "")
    return made


def _next(night: Night, new: bool) -> DatasetSummary:
    root = night.bench.root
    write_book(root, read_book(root).of_recipe(night.bench.recipe))
    unfinished = _unfinished(night)
    standing = settle(night.bench)
    if standing and standing.number == night.memory.number:
        # an earlier try made it; the server was lost before it was judged, or after
        return _summary(root, standing)
    if new or unfinished:
        return _make(night, unfinished or read_book(root).newest + 1)
    if standing is None:
        raise FlowError(
            f"no version below {root} can be used",
            expected="one that is verified and audited",
            advice="let the flow make a new one",
        )
    return _summary(root, standing)


def _unfinished(night: Night) -> int | None:
    """The newest version if an earlier run of this recipe and these packages left it unfinished."""
    root, book = night.bench.root, read_book(night.bench.root)
    newest = book.find(book.newest)
    if newest is None or newest.state not in ("unfinished", *USABLE) or is_finished(root, newest.number):
        return None
    try:
        prepare(night.name, night.bench.store(newest.number), None, night.changed(newest.number))
    except (StoreConflictError, StoreDamagedError) as error:
        if newest.state in USABLE:
            # it was whole once: a repair may make it so again, with the same bytes
            return None
        note(root, newest.number, state="left", reason=error.found)
        say(f"version {newest.number} stays unfinished, a new one is begun: {error.found}", bad=True)
        return None
    note(root, newest.number, state="unfinished")
    return newest.number


def _make(night: Night, number: int) -> DatasetSummary:
    store = night.bench.store(number)
    changed = night.changed(number)
    prepare(night.name, store, None, changed)
    _begin(night, number)
    night.memory.number = number
    bench = night.bench
    try:
        made = simulate_flow(
            night.name, str(store), bench.workers, None, changed, True, cluster=bench.cluster
        )
    except (RecipeError, ColumnError, SampleError) as error:
        # it fails every time, but another seed may draw no such sample
        note(bench.root, number, state="left", reason=error.found)
        raise
    judge_new(night.bench, number)
    return made


def _begin(night: Night, number: int) -> None:
    """The number is given, whatever becomes of it."""
    root, recipe = night.bench.root, load_recipe(night.name, night.changed(number))
    book = read_book(root)
    if (before := book.find(number)) is None:
        before = Version(
            number=number,
            lineage=lineage_digest(recipe),
            recipe=recipe.name,
            seed=recipe.seed,
            digest=recipe.digest,
            state="unfinished",
            began=datetime.now(UTC).replace(microsecond=0),
            packages=provenance(recipe).versions,
        )
    again = {"state": "unfinished", "reason": ""}
    write_book(root, book.having(before.model_copy(update=again)))


def _summary(root: Root, version: Version) -> DatasetSummary:
    return DatasetSummary(
        store=str(root / version_name(version.number)),
        recipe=version.recipe,
        digest=version.digest,
        rows=version.rows,
        shards=0,
        made=0,
        seconds=0.0,
        images_per_s=0.0,
    )


def _clear(root: Root, keep: Keep | None, runs: Sequence[str], failure: str) -> None:
    """Apply the policy and show how things stand; what goes wrong here is told and ends nothing."""
    lost = "the book of versions was lost and written anew; nothing is removed this time"
    done = Retention((), (lost,))
    try:
        done = apply_policy(root, keep, runs) if keep else done
    except LensmillError as error:
        done = Retention((), (str(error),))
    for number in done.removed:
        say(f"version {number} was removed: no rule keeps it")
    for complaint in done.complaints:
        say(complaint, bad=True)
    about = f"versions below {Path(str(root)).name}"
    try:
        show(key_of(root), page(root, read_book(root), latest_of(root), done, failure), about)
    except LensmillError as error:
        say(f"the table of versions is not shown: {error}", bad=True)
