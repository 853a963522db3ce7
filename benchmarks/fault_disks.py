"""Full disks: small file systems in memory, which a test may mount where it runs as root."""

import contextlib
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.fault_processes import clean, command, fails, is_clear_error, simulate, succeeds
from benchmarks.fault_stores import Outcome, Workplace, same
from flows.generate import Order
from storage import commit

BLOCK = 4096


@contextlib.contextmanager
def small_disk(folder: Path, size: int, files: int = 0) -> Iterator[Path]:
    """A file system of so many bytes, and files if they are limited; raises OSError where it may not be."""
    folder.mkdir(parents=True, exist_ok=True)
    words = ["mount", "-t", "tmpfs", "-o", _options(size, files), "lensmill-faults", str(folder)]
    if subprocess.run(words, capture_output=True, check=False).returncode:
        raise PermissionError("tmpfs cannot be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)  # noqa: S607


def enlarge(folder: Path, size: int) -> None:
    """Free space, as a person would by deleting other things."""
    words = ["mount", "-o", f"remount,{_options(size, 0)}", str(folder)]
    subprocess.run(words, capture_output=True, check=True)


def _options(size: int, files: int) -> str:
    return f"size={size},nr_inodes={files or 100_000}"


def _blocks(root: Path) -> int:
    """Bytes that a store takes on such a disk."""
    files = [path for path in root.rglob("*") if path.is_file()]
    return sum(-(-path.stat().st_size // BLOCK) * BLOCK for path in files)


def _entries(root: Path, last: str) -> int:
    """Files and folders of a store that is written up to a book of its seal, that book left out."""
    seal = [*(path for path in root.rglob("zarr.json")), root / commit.MANIFEST, root / commit.MARKER]
    order = {"metadata": 1, "manifest": len(seal) - 2, "marker": len(seal) - 1}
    everything = {root, *root.rglob("*")} - set(seal)
    # the file system's own root, and the receipt's or book's temporary name while both are there
    return len(everything) + 1 + order[last]


def _write(order: Order, books: Path) -> tuple[int, str]:
    words = [sys.executable, "-m", "benchmarks.fault_writer", str(order.root), str(books)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=180, check=False)
    return done.returncode, done.stderr


def full_disks(place: Workplace, tries: int, rng: random.Random) -> list[Outcome]:
    """Disks that end at a part of the store, the last ones while it is sealed."""
    sound, held = place.small, 0
    needed, disk = _blocks(sound.root), place.folder / "disk"
    books = ["metadata", "manifest", "marker"]
    levels = [(int(needed * (trial + rng.random()) / (tries - 3)), 0) for trial in range(tries - 3)]
    levels = [(max(size // BLOCK, 1) * BLOCK, 0) for size, _ in levels]
    levels += [(4 * needed, _entries(sound.root, book)) for book in books]
    for size, files in levels:
        with small_disk(disk, size, files):
            order = Order(disk / "small.zarr", sound.recipe, sound.plan)
            code, said = _write(order, sound.root)
            clear = code == 1 and "cannot write" in said and "Traceback" not in said
            refused = clear and clean(order) and not (order.root / commit.MARKER).exists()
            enlarge(disk, 4 * needed)
            held += refused and _write(order, sound.root)[0] == 0 and same(order, sound)
    outcome = (
        "a clear error; nothing half-written, no receipt of a bad shard; with space again, the same files"
    )
    return [
        Outcome("a disk that is full in the middle, three times while sealing", len(levels), held, outcome)
    ]


def full_disks_of_flows(place: Workplace, tries: int, rng: random.Random) -> list[Outcome]:
    """The real command: refused where the disk is too small, stopped where something else fills it."""
    held, disk = 0, place.folder / "disk"
    for trial in range(tries):
        size = 64 << 20
        with small_disk(disk, size):
            order = Order(disk / "long.zarr", place.long.recipe, place.long.plan)
            ballast = disk / "ballast"
            if trial == 0:
                fill(ballast, leave=1 << 20)
                good = fails(simulate(order.root), "GB free", "expected:") and not order.root.exists()
            else:
                with command(*simulate(order.root)) as running:
                    met = running.meet(order.root, rng.randrange(1, 40))
                    fill(ballast, leave=rng.randrange(0, 5) * BLOCK)
                    code, said = running.ended()
                    good = (
                        met
                        and is_clear_error(code, said, "cannot write", "No space left")
                        and running.alone()
                    )
                good = good and clean(order)
            ballast.unlink()
            held += good and succeeds(*simulate(order.root)) and same(order, place.long)
    outcome = "one error, exit code 1; with space again, the same command makes the same files"
    return [Outcome("a full disk under the whole flow, once from the start", tries, held, outcome)]


def fill(ballast: Path, leave: int) -> None:
    """Write until no more than so many bytes are free."""

    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while (free := shutil.disk_usage(ballast.parent).free) > leave:
            file.write(b"\0" * min(free - leave, 1 << 20))
