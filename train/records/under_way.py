"""Where a training that is not finished has its folder, and whether somebody is at it."""

from pathlib import Path

from schemas.errors import RunError
from storage.files.file_lock import take

IDENTITY, LOCK = "identity.json", "lock"


def unfinished_of(target: Path) -> Path:
    """The hidden folder beside the place of a run that is filled until it is finished."""
    return target.with_name(f".{target.name}.partial")


def refuse_unfinished(root: Path) -> None:
    """Say that a run is being trained, or was interrupted, where that is why it is not there."""
    for folder in (root, unfinished_of(root)):
        if (folder / LOCK).is_file() and (folder / IDENTITY).is_file():
            busy = _is_held(folder / LOCK)
            raise RunError(
                f"{root} is being trained now" if busy else f"the training of {root} was interrupted",
                expected="a finished run",
                where=str(folder),
                advice="wait until it is done"
                if busy
                else "give the same command again: it goes on from there",
            )


def _is_held(lock: Path) -> bool:
    with lock.open("r") as file:
        try:
            take(file, "the run", shared=True)
        except BlockingIOError:
            return True
    return False
