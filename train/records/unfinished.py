"""The folder of a run in training: hidden beside its place, kept over a kill, moved there at the end."""

import contextlib
import shutil
import traceback
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from schemas.errors import DataError, LensmillError, RunError, WriteError
from schemas.run import RunIdentity
from storage.files.durable import write_whole
from storage.files.file_lock import take
from train.records.run_folder import check_free, sweep
from train.records.under_way import IDENTITY, LOCK, unfinished_of

CHECKPOINTS = "checkpoints"
TRACE = "error.txt"


@contextlib.contextmanager
def unfinished_folder(target: Path, identity: RunIdentity) -> Iterator[Path]:
    """A folder to fill that appears as `target` when the block ends well.

    A run that is killed, interrupted or ended by an error leaves it with its checkpoints, and the next run of
    the same experiment on the same data goes on in it. Without a checkpoint, or where the loss is no number,
    nothing is left.
    """
    check_free(target)
    sweep(target)
    folder = unfinished_of(target)
    try:
        with _owned(folder):
            check_free(target)
            with _kept_where_it_helps(folder):
                _claim(folder, identity, target)
                yield folder
                _finish(folder, target)
    except LensmillError:
        raise
    except OSError as error:
        raise WriteError(
            f"cannot write {target}: {error.strerror or error}", advice="free space or mend permissions"
        ) from error


@contextlib.contextmanager
def _owned(folder: Path) -> Iterator[None]:
    """The right to fill the folder; the kernel takes it back from a dead process."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as lock:
        try:
            take(lock, "the run")
        except BlockingIOError as error:
            raise RunError(
                f"another process is training in {folder}",
                advice="wait for it to end, or choose another path",
            ) from error
        yield


@contextlib.contextmanager
def _kept_where_it_helps(folder: Path) -> Iterator[None]:
    """Keep what has a checkpoint, maybe hours of work; but data that do not fit will not fit again."""
    try:
        yield
    except RunError:
        raise
    except BaseException as error:
        if isinstance(error, DataError) or not _has_checkpoints(folder):
            shutil.rmtree(folder, ignore_errors=True)
            raise
        if isinstance(error, LensmillError | OSError) or not isinstance(error, Exception):
            raise
        raise _unforeseen(error, folder) from error


def _unforeseen(error: Exception, folder: Path) -> RunError:
    """A message for an error of a driver or a library; its traceback is kept for whoever can read it."""
    trace = folder / CHECKPOINTS / TRACE
    with contextlib.suppress(OSError):
        trace.write_text("".join(traceback.format_exception(error)))
    said = (str(error).splitlines() or [""])[0]
    return RunError(
        f"training ended with {type(error).__name__}: {said}",
        where=f"{trace} has the traceback",
        advice=f"run the same command to go on from the last checkpoint, or remove {folder}",
    )


def _has_checkpoints(folder: Path) -> bool:
    return any((folder / CHECKPOINTS).glob("*.pt"))


def _claim(folder: Path, identity: RunIdentity, target: Path) -> None:
    """Refuse another experiment's folder; a folder without a checkpoint is nobody's."""
    if _has_checkpoints(folder):
        found = _identity(folder)
        if found == identity:
            return
        raise RunError(
            f"{folder} is an unfinished run: {found or 'of an unknown experiment'}",
            expected=f"{identity}",
            where=str(target),
            advice=f"finish that one, choose another path, or remove {folder}",
        )
    for stray in folder.iterdir():
        if stray.name != LOCK:
            shutil.rmtree(stray) if stray.is_dir() else stray.unlink()
    (folder / CHECKPOINTS).mkdir()
    write_whole(folder / IDENTITY, identity.to_json().encode())


def _identity(folder: Path) -> RunIdentity | None:
    with contextlib.suppress(OSError, ValidationError):
        return RunIdentity.model_validate_json((folder / IDENTITY).read_bytes())
    return None


def _finish(folder: Path, target: Path) -> None:
    shutil.rmtree(folder / CHECKPOINTS)
    for name in (IDENTITY, LOCK):
        (folder / name).unlink()
    folder.replace(target)
