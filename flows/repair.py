"""Repair: whatever of a store is damaged is made again from the recipe and plan that it holds itself.

A shard counts as repaired only if its files come out with the SHA-256 sums that the store has of them. So a
repair cannot make another data set out of a damaged one, whichever versions do it.
"""

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from prefect import Flow, flow
from prefect.context import FlowRunContext
from pydantic import Field

from flows.clusters.local import Workers, chosen
from flows.clusters.preconditions import check_cluster
from flows.galaxies import with_galaxies
from flows.serving.api import prefect_api
from flows.shards import Order, versions_here
from flows.telling.events import watched
from flows.telling.progress import progress_bar
from flows.unattended import told
from flows.workshop import make_missing
from schemas.cluster import AnyCluster
from schemas.dataset import DatasetRecipe
from schemas.errors import DataError, StoreConflictError, StoreDamagedError
from schemas.frozen import Frozen
from schemas.galaxy_image import GalaxyImage
from schemas.imported import ImportedData
from schemas.store import Receipt, StoredRecipe, StorePlan
from storage import commit
from storage.files.place import Root, place
from storage.layout import Span, shard_count
from storage.reader import open_store
from storage.upkeep.diagnosis import Diagnosis, check_there, diagnose
from storage.upkeep.mending import close, opened


class RepairReport(Frozen):
    """What was wrong with a store and what was done about it."""

    store: str
    recipe: str
    digest: str
    shards: int = Field(ge=0, description="shards of the store")
    found: tuple[str, ...] = Field(description="what was wrong with shards and metadata, one line each")
    remade: tuple[str, ...] = Field(description="shards that were made again")
    rebuilt: dict[str, str] = Field(description="books and metadata by path, with what they were taken from")
    changed: tuple[str, ...] = Field(description="shards that now have other bytes than before")
    left: tuple[str, ...] = Field(
        description="files that do not belong; repair removes nothing that it did not write"
    )

    @property
    def sound(self) -> bool:
        """Whether the store is sound now."""
        return not self.left


def repair(
    store: str | Root,
    workers: Workers = None,
    quiet: bool = False,
    source_file: str | Path | None = None,
    accept_new_bytes: bool = False,
    cluster: AnyCluster | None = None,
) -> RepairReport:
    """Make exactly what is damaged of a store again, from the recipe in it.

    `source_file` is the file of galaxies of a recipe that needs one, if it is no longer where it was.
    `accept_new_bytes` seals shards that come out differently here; else they are refused and nothing changes.
    """
    root = place(store)
    check_there(root)
    receipts = sum(1 for _ in (root / commit.RECEIPTS).rglob("*.json"))
    with commit.writing(root):
        with progress_bar("looking for damage", receipts, "shards", quiet) as report:
            found = diagnose(root, report)
        if found.whole:
            return _report(found, {})
        _check_versions(found, accept_new_bytes)
        # before the seal is taken off: what cannot be made again is refused with everything as it was
        order = _order(found, source_file, accept_new_bytes) if found.bad else None
        where = chosen(cluster, workers)
        if order:
            check_cluster(where)
        made = _mend(found, order, where, quiet)
        open_store(root)
    return _report(found, made)


def _mend(found: Diagnosis, order: Order | None, cluster: AnyCluster, quiet: bool) -> dict[Span, Receipt]:
    try:
        with opened(found) as seal:
            made = _make(order, list(found.bad), cluster, quiet) if order else {}
            close(found, seal, made)
    except StoreConflictError as error:
        raise StoreConflictError(
            error.found, expected=error.expected, where=_versions(found.store.plan), advice=_ADVICE
        ) from error
    return made


def _make(order: Order, spans: Sequence[Span], cluster: AnyCluster, quiet: bool) -> dict[Span, Receipt]:
    # a flow that repairs has its API already, which may be another than ours
    with contextlib.nullcontext() if FlowRunContext.get() else prefect_api():
        return repair_flow(order, spans, cluster, quiet)(str(order.root))


def repair_flow(
    order: Order, spans: Sequence[Span], cluster: AnyCluster, quiet: bool
) -> Flow[[str], dict[Span, Receipt]]:
    """A flow that makes these shards. Its parameter is for events: Prefect would look into every shard."""

    @watched
    @flow(name="repair")
    @told
    def repair_store(store: str) -> dict[Span, Receipt]:  # noqa: ARG001 - see above
        return make_missing(order, spans, cluster, quiet, None)[0]

    return repair_store


def _order(found: Diagnosis, source_file: str | Path | None, accept_new_bytes: bool) -> Order:
    store = found.store
    recipe = recipe_to_repair(store.stored, store.plan, accept_new_bytes)
    wanted = None if accept_new_bytes else store.manifest
    return Order(store.root, _with_galaxies(recipe, source_file), store.plan, wanted, accept_new_bytes)


def recipe_to_repair(stored: StoredRecipe, plan: StorePlan, accept_new_bytes: bool) -> DatasetRecipe:
    """The recipe that damaged shards can be made from. The one place that decides whether there is one."""
    recipe = stored.recipe
    if not isinstance(recipe, DatasetRecipe):
        raise _imported(plan)
    if _went_through_codes(plan):
        raise DataError(
            f"the images of {plan.recipe_name!r} went through codes of 16 bits and back",
            expected="a store whose images are as they were simulated, or codes of these",
            advice="run the `lensmill convert` command that made it again: it replaces what is damaged",
        )
    if accept_new_bytes and plan.provenance.conversions:
        raise DataError(
            f"the store of {plan.recipe_name!r} was converted; new bytes would not belong to it",
            expected="a store that lensmill simulated, or a repair to the same bytes",
            advice="repair the store that it was converted from, and convert that again",
        )
    if recipe.digest != stored.digest:
        raise StoreConflictError(
            f"this lensmill reads the recipe {recipe.name!r} as one with digest {recipe.digest}",
            expected=f"digest {stored.digest}",
            advice=f"repair it with the versions that made it: {_told(plan.provenance.versions)}",
        )
    return recipe


def _with_galaxies(recipe: DatasetRecipe, source_file: str | Path | None) -> DatasetRecipe:
    """The recipe with the file of its galaxies where that is now, which is checked to be the same file."""
    source = recipe.source
    if not isinstance(source, GalaxyImage):
        if source_file is not None:
            raise DataError(
                f"the recipe {recipe.name!r} shows no galaxies from a file", advice="leave out --source-file"
            )
        return recipe
    file = str(source_file or source.file)
    if not Path(file).is_file():
        raise DataError(
            f"the galaxies of the recipe {recipe.name!r} are not at {file}",
            expected=f"the file with SHA-256 {source.sha256}",
            advice="say where it is: --source-file PATH",
        )
    return with_galaxies(
        recipe.model_copy(update={"source": source.model_copy(update={"file": file})}), Path()
    )


_ADVICE = (
    "repair it with the versions that made it, or seal what comes out here: --accept-new-bytes"
    " (receipts then tell these versions)"
)


def _went_through_codes(plan: StorePlan) -> bool:
    profiles = [*(one.profile for one in plan.provenance.conversions), plan.profile]
    first_codes = next((k for k, profile in enumerate(profiles) if profile != "float32"), len(profiles))
    return "float32" in profiles[first_codes:]


def _imported(plan: StorePlan) -> DataError:
    return DataError(
        f"the data of {plan.recipe_name!r} were imported, so that no recipe can make them again",
        expected="a store that lensmill simulated",
        advice="restore the damaged files from a copy, or import the originals again",
    )


def _check_versions(found: Diagnosis, accept_new_bytes: bool) -> None:
    """Refuse what would come out differently, or may and nothing is left to compare it with."""
    plan = found.store.plan
    lost = [path for path in found.differing if path not in found.metadata]
    if lost and isinstance(found.store.origin, ImportedData):
        raise _imported(plan)
    if lost:
        raise StoreDamagedError(
            f"{', '.join(lost)} of {found.store.root} cannot be made again from anything in the store",
            expected="the files whose SHA-256 the manifest lists",
            advice="restore copies of them",
        )
    if accept_new_bytes:
        return
    unknown = [str(span) for span in found.bad if found.expected(span) is None]
    here = versions_here(plan)
    if found.differing or (unknown and here != plan.provenance.versions):
        what = f"come out differently here: {', '.join(found.differing)}" if found.differing else ""
        what = what or f"have nothing left to compare new ones with: {', '.join(unknown)}"
        raise StoreConflictError(f"parts of {found.store.root} {what}", where=_versions(plan), advice=_ADVICE)


def _versions(plan: StorePlan) -> str:
    return f"made with {_told(plan.provenance.versions)}; here {_told(versions_here(plan))}"


def _told(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in versions.items())


def _report(found: Diagnosis, made: Mapping[Span, Receipt]) -> RepairReport:
    store = found.store
    before = {span: found.expected(span) for span in made}
    return RepairReport(
        store=str(store.root),
        recipe=store.plan.recipe_name,
        digest=store.stored.digest,
        shards=shard_count(store.plan),
        found=(
            *(f"{span}: {fault}" for span, faults in found.bad.items() for fault in faults),
            *(f"{path}: not as it was written" for path in (*found.books, *found.differing)),
        ),
        remade=tuple(map(str, made)),
        rebuilt={
            **{path: book.how for path, book in found.books.items()},
            **dict.fromkeys(found.differing, "from plan and recipe, with other bytes"),
        },
        changed=tuple(
            str(span) for span, one in made.items() if (was := before[span]) and was.files != one.files
        ),
        left=found.strangers.read,
    )
