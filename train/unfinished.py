"""The folder of a run in training: hidden beside its place, kept over a kill, moved there at the end."""

import contextlib
import fcntl
import shutil
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from schemas.errors import LensmillError, RunError, WriteError
from schemas.run import RunIdentity
from storage.durable import write_whole
from train.run_folder import check_free, sweep
from train.under_way import IDENTITY, LOCK, unfinished_of

CHECKPOINTS = "checkpoints"


@contextlib.contextmanager
def unfinished_folder(target: Path, identity: RunIdentity) -> Iterator[Path]:
    """A folder to fill that appears as `target` when the block ends well.

    A killed or interrupted run leaves it with its checkpoints, as does a disk that is full; the next run of
    the same experiment on the same data goes on in it. Any other error leaves nothing.
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
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunError(
                f"another process is training in {folder}",
                advice="wait for it to end, or choose another path",
            ) from error
        yield


@contextlib.contextmanager
def _kept_where_it_helps(folder: Path) -> Iterator[None]:
    try:
        yield
    except RunError:
        raise
    except (Exception, GeneratorExit) as error:
        # what the same command would only meet again is not worth a folder; a full disk can be mended
        if not (isinstance(error, OSError) and _has_checkpoints(folder)):
            shutil.rmtree(folder, ignore_errors=True)
        raise
    except BaseException:
        if not _has_checkpoints(folder):
            shutil.rmtree(folder, ignore_errors=True)
        raise


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
