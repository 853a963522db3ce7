"""The table that predictions are written to: tried out before any work, there as a whole or not at all."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from schemas.errors import PlaceError, WriteError

SUFFIXES = (".parquet", ".csv")


def check_place(out: Path) -> None:
    """Refuse a path that cannot be written, before a network works hours for it."""
    if out.suffix not in SUFFIXES:
        raise PlaceError(
            f"cannot write {out}",
            expected=f"a path ending in {' or '.join(SUFFIXES)}",
            advice="choose another --out",
        )
    if out.is_dir() or not out.parent.is_dir():
        told, advice = _fault(out)
        raise PlaceError(
            f"cannot write {out}: {told}", expected="a file in a folder that is there", advice=advice
        )
    try:
        # permissions alone do not tell: a file system may be read-only, or none that takes files
        with _beside(out) as trial:
            trial.touch()
    except OSError as error:
        raise PlaceError(
            f"cannot write {out}: {error.strerror or error}",
            expected="a folder that files can be made in",
            advice="mend its permissions, or choose another --out",
        ) from error


def write_table(table: pa.Table, out: Path) -> None:
    """All rows, or what was there before."""
    try:
        with _beside(out) as whole:
            if out.suffix == ".csv":
                pa_csv.write_csv(table, whole)
            else:
                pq.write_table(table, whole)
            whole.replace(out)
    except OSError as error:
        raise WriteError(
            f"cannot write {out}: {_said(error)}",
            expected="a path that can be written, with room for the table",
            advice="free space or mend permissions, or choose another --out",
        ) from error


def _fault(out: Path) -> tuple[str, str]:
    """What is wrong with a place, and what to do."""
    if out.is_dir():
        return "it is a folder", "choose another --out"
    there = next(one for one in out.parents if one.exists())
    if not there.is_dir():
        return f"{there} is a file", "choose another --out"
    return f"there is no folder {out.parent}", "make the folder, or choose another --out"


@contextlib.contextmanager
def _beside(out: Path) -> Iterator[Path]:
    whole = out.with_name(f".{out.name}.partial")
    try:
        yield whole
    finally:
        with contextlib.suppress(OSError):
            whole.unlink(missing_ok=True)


def _said(error: OSError) -> str:
    """The system's words; pyarrow puts its own and the hidden file's name before them."""
    return str(error).rpartition("Detail: ")[2].rpartition("] ")[2]
