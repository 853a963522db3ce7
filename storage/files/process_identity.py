"""Which process it was, so that a later one can tell whether it still runs.

Numbers are given again, so the time of its start belongs to it. Counted from 1970 that time moves when the
clock is stepped, as it is after a boot or when a suspended machine goes on. What Linux counts from the boot
never moves, and holds for one boot of one machine, and for the process numbers of one container.
"""

from pathlib import Path
from typing import NamedTuple

import psutil

BOOT, NAMESPACE = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
# Counted from 1970, the kernel's own word wavers a little.
SAME_SECONDS = 2.0
# Of /proc/PID/stat, behind the name of the program: fields 3 and up.
TICKS_FIELD = 22 - 3


class Identity(NamedTuple):
    """A process. Records of before end with `started`, as do those of machines without a /proc."""

    pid: int
    # seconds since 1970
    started: float
    # the same since the machine's boot, which the kernel counts
    ticks: int = 0
    boot: str = ""
    namespace: str = ""


def identity(pid: int) -> Identity:
    """What tells a process from a later one with its number."""
    return Identity(pid, psutil.Process(pid).create_time(), _ticks(pid), *boot_and_namespace())


def boot_and_namespace() -> tuple[str, str]:
    """This boot of this machine, and where its process numbers count; empty where that is not told."""
    try:
        return BOOT.read_text().strip(), str(NAMESPACE.readlink())
    except OSError:
        return "", ""


def seen_from_here(known: Identity) -> bool:
    """Whether it was noted in this boot and container, or so long ago that this was not noted."""
    return not known.ticks or (known.boot, known.namespace) == boot_and_namespace()


def still_runs(known: Identity) -> bool | None:
    """Whether a process is there; None where that cannot be seen, as of a container's from outside."""
    boot, namespace = boot_and_namespace()
    if known.ticks and known.boot != boot:
        return False
    if known.ticks and known.namespace != namespace:
        return None
    try:
        process = psutil.Process(known.pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        if known.ticks:
            return _ticks(known.pid) == known.ticks
        return bool(abs(process.create_time() - known.started) < SAME_SECONDS)
    except psutil.NoSuchProcess:
        return False


def _ticks(pid: int) -> int:
    """When it started, in the kernel's ticks since boot; 0 where that is not told."""
    try:
        # the name before may have spaces and brackets of its own
        return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[TICKS_FIELD])
    except (OSError, IndexError):
        return 0
