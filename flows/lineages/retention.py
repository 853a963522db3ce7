"""Old versions of a data set: what the policy says of each, and removing those that nothing keeps."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from flows.lineages.references import references
from schemas.errors import LensmillError
from schemas.lineage import Keep, Verdict, VersionBook, verdicts
from storage.files.place import Root, local
from storage.upkeep.removal import check_removable, remove
from storage.upkeep.versions import latest_of, note, read_book, version_name, write_book

RUNS = "runs"


class Outlook(NamedTuple):
    """What is to become of the versions of a folder, and what stands in the way of removing any."""

    verdicts: dict[int, Verdict]
    obstacle: str


class Retention(NamedTuple):
    """What was removed, and what could not be: a line each."""

    removed: tuple[int, ...]
    complaints: tuple[str, ...]


def outlook(root: Root, book: VersionBook, keep: Keep, runs: Sequence[str]) -> Outlook:
    """What the policy says of each version. Where runs cannot be read nothing may go."""
    try:
        referred = _referred(root, keep, runs)
    except LensmillError as error:
        found = verdicts(book, keep, latest_of(root), {})
        why = "runs cannot be read"
        return Outlook({n: one if one.kept else Verdict(True, why) for n, one in found.items()}, str(error))
    return Outlook(verdicts(book, keep, latest_of(root), referred), "")


def _referred(root: Root, keep: Keep, runs: Sequence[str]) -> dict[str, str]:
    folders = [local(one) for one in runs]
    own = root / RUNS if isinstance(root, Path) else None
    if isinstance(root, Path):
        folders.append(root)
    return references(folders, None if keep.own_runs else own)


def apply_policy(root: Root, keep: Keep, runs: Sequence[str]) -> Retention:
    """Remove what nothing keeps. Each removal is noted before it begins, and gone on with after a kill."""
    book = write_book(root, read_book(root).model_copy(update={"policy": keep, "runs": tuple(runs)}))
    seen = outlook(root, book, keep, runs)
    removed, complaints = [], [seen.obstacle] if seen.obstacle else []
    for number in sorted(number for number, one in seen.verdicts.items() if not one.kept):
        try:
            _remove(root, number, seen.verdicts[number].why)
        except LensmillError as error:
            complaints.append(f"version {number} stays: {error}")
        else:
            removed.append(number)
    return Retention(tuple(removed), tuple(complaints))


def _remove(root: Root, number: int, why: str) -> None:
    version, store = read_book(root).find(number), root / version_name(number)
    assert version is not None
    if version.state != "removing":
        check_removable(store)
        note(root, number, state="removing", reason=version.reason or why)
    remove(store, begun=True)
    note(root, number, state="removed", bytes=0)
