"""Which data the runs below a folder were trained or measured on, finished or not.

Only what decides about removal is read, so that runs of newer versions count too. Anything that cannot be
read is an error: it may refer to anything.
"""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from schemas.errors import RunError, RunMissingError
from storage.commit import BOOKS

# Of a finished run, a report, a training that is under way: where each names the digest of its data.
NAMED: dict[str, tuple[str, ...]] = {
    "run.json": ("data", "recipe_digest"),
    "report.json": ("store_digest",),
    "identity.json": ("data_digest",),
}


def references(folders: Iterable[Path], but: Path | None = None) -> dict[str, str]:
    """A run for each digest that one refers to; runs below `but` do not count."""
    found: dict[str, str] = {}
    for folder in folders:
        if not folder.is_dir():
            raise RunMissingError(
                f"the folder of runs {folder} is not there",
                expected="a folder; a disk that is not mounted may hide runs",
                advice="mount it, make it, or name another one",
            )
        for path in _files(folder, but.resolve() if but else None):
            found.setdefault(_digest_in(path), str(path.parent))
    return found


def _files(folder: Path, but: Path | None) -> Iterator[Path]:
    """Files that name data, links followed, each real folder once; stores have none."""
    seen: set[str] = set()
    for here, below, names in os.walk(folder, followlinks=True, onerror=_refuse):
        real = Path(here).resolve()
        if str(real) in seen or (real / BOOKS / "plan.json").is_file() or real == but:
            below.clear()
            continue
        seen.add(str(real))
        yield from (Path(here) / name for name in names if name in NAMED)


def _refuse(error: OSError) -> None:
    raise RunError(f"cannot read {error.filename}: {error.strerror}", advice="mend its permissions")


def _digest_in(path: Path) -> str:
    try:
        value: Any = json.loads(path.read_bytes())
        for key in NAMED[path.name]:
            value = value[key]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{path} does not tell which data it is of ({type(error).__name__})",
            expected=f"JSON with {'.'.join(NAMED[path.name])}",
            advice="restore it from a copy, or move that run away if it is worth nothing",
        ) from error
    return str(value)
