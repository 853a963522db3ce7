"""Processes that are killed, meet each other or fill the disk, with the real command and its own servers."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.fault_stores import LONG, OVERRIDES, Outcome, Workplace, bad_receipts, complete, same
from flows.generate import Order
from storage import commit
from storage.verify import verify

# against hanging; a busy machine takes most of it to start a worker anew eight times
MOST_SECONDS = 1200
PYTHON = sys.executable


@dataclass
class Command:
    """A running `lensmill`; all its descendants carry a mark in their environment."""

    process: "subprocess.Popen[str]"
    mark: str

    def descendants(self) -> list[psutil.Process]:
        """What it started and is still alive."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                alive = process.status() != psutil.STATUS_ZOMBIE
                if alive and process.pid != self.process.pid and process.environ().get("MARK") == self.mark:
                    found.append(process)
        return found

    def meet(self, root: Path, receipts: int) -> bool:
        """Wait until so many shards are there, or the store has begun; False if it ended before."""
        until = time.monotonic() + MOST_SECONDS
        while time.monotonic() < until and self.process.poll() is None:
            if (root / commit.PLAN).is_file() and sum(
                1 for _ in (root / commit.RECEIPTS).rglob("*.json")
            ) >= receipts:
                return True
            time.sleep(0.02)
        return False

    def alone(self) -> bool:
        """Whether nothing that it started outlives it for long."""
        until = time.monotonic() + 180
        while time.monotonic() < until:
            if not self.descendants():
                return True
            time.sleep(0.1)
        return False

    def ended(self) -> tuple[int, str]:
        """Exit code, and all that was said."""
        out, err = self.process.communicate(timeout=MOST_SECONDS)
        # what was unexpected can be read in the log of the series
        print(f"exit code {self.process.returncode}: {out}{err}", file=sys.stderr, flush=True)
        return self.process.returncode, out + err


@contextlib.contextmanager
def command(*words: str | Path, **more: str) -> Iterator[Command]:
    """`lensmill` in a process group of its own, of which nothing is left; `more` is of its environment."""
    mark = uuid.uuid4().hex
    with tempfile.TemporaryDirectory(prefix="lensmill-faults-") as home:
        environment = {**os.environ, "MARK": mark, "LENSMILL_HOME": home}
        environment.pop("PREFECT_API_URL", None)
        environment |= more
        process = subprocess.Popen(
            [PYTHON, "-m", "flows.cli", *map(str, words)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            start_new_session=True,
        )
        running = Command(process, mark)
        try:
            yield running
        finally:
            for one in running.descendants():
                with contextlib.suppress(psutil.Error):
                    one.kill()
            process.kill()
            process.communicate(timeout=60)
            # a server that was just killed may still be writing its log
            running.alone()


# batches and the rest mapped, as is usual, and all mapped, as on clusters
FORMS: tuple[tuple[str, ...], ...] = ((), ("--mapped",))


def simulate(root: Path, *more: str, sizes: Sequence[str] = LONG) -> list[str | Path]:
    """The words that make the long store, with two workers unless a cluster is named."""
    changed = [word for one in [*OVERRIDES, *sizes] for word in ("--set", one)]
    workers = [] if "--dask-address" in more else ["--workers", "2"]
    return ["simulate", "tiny", "--out", root, *workers, *changed, *more]


def succeeds(*words: str | Path) -> bool:
    """Whether a command ends well and leaves nothing running."""
    with command(*words) as running:
        code, said = running.ended()
        return code == 0 and "Traceback" not in said and running.alone()


def fails(words: Sequence[str | Path], *says: str) -> bool:
    """Whether a command ends with one clear error that says this, and leaves nothing running."""
    with command(*words) as running:
        code, said = running.ended()
        return is_clear_error(code, said, *says) and running.alone()


def is_clear_error(code: int, said: str, *says: str) -> bool:
    """Exit code 1, or 2 where another thing was asked for; one message with these words, no traceback."""
    one = said.count("error:") == 1 and "Traceback" not in said
    return code in (1, 2) and one and all(word in said for word in says)


def killed_writers(place: Workplace, tries: int, rng: random.Random) -> list[Outcome]:
    """One process that writes, killed again and again while it goes on with the same store."""
    order, held = place.empty(place.long, "writer.zarr"), 0
    for _ in range(tries):
        words = [PYTHON, "-m", "benchmarks.fault_writer", str(order.root), str(place.long.root)]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(rng.uniform(0, 0.5))
        process.kill()
        process.communicate(timeout=60)
        held += not bad_receipts(order)
        if (order.root / commit.MARKER).is_file():
            held -= not verify(order.root).sound
            order = place.empty(place.long, "writer.zarr")
    complete(order)
    outcome = "no receipt of a bad shard; completed, the files are those of an undisturbed run"
    return [
        Outcome(
            "kill -9 of a writer at a random moment", tries, held if same(order, place.long) else 0, outcome
        )
    ]


def killed_workers(place: Workplace, tries: int, rng: random.Random) -> list[Outcome]:
    """A Dask worker of a running flow; its nanny starts another."""
    held = 0
    for trial in range(tries):
        order = place.empty(place.long, "worker.zarr")
        with command(*simulate(order.root, *FORMS[trial % 2])) as running:
            if not running.meet(order.root, rng.randrange(1, 40)):
                continue
            workers = [one for one in running.descendants() if "spawn_main" in " ".join(one.cmdline())]
            rng.choice(workers).kill()
            code, said = running.ended()
            held += code == 0 and "Traceback" not in said and running.alone() and same(order, place.long)
    return [Outcome("kill -9 of a Dask worker", tries, held, "the flow completes, the same files")]


def _kill_driver(running: Command) -> None:
    running.process.kill()


def _kill_group(running: Command) -> None:
    os.killpg(running.process.pid, signal.SIGKILL)


def _killed(place: Workplace, tries: int, rng: random.Random, kill: Callable[[Command], None]) -> int:
    held = 0
    for trial in range(tries):
        order = place.empty(place.long, "driver.zarr")
        with command(*simulate(order.root, *FORMS[trial % 2])) as running:
            met = running.meet(order.root, rng.randrange(1, 80))
            kill(running)
            gone = running.alone()
        good = met and gone and not bad_receipts(order) and not (order.root / commit.MARKER).exists()
        held += good and succeeds(*simulate(order.root)) and same(order, place.long)
    return held


def killed_drivers(place: Workplace, tries: int, rng: random.Random) -> list[Outcome]:
    """The process that was started by the command."""
    held = _killed(place, tries, rng, _kill_driver)
    outcome = "workers and server end too; no receipt of a bad shard; the same command makes the same files"
    return [Outcome("kill -9 of the driver", tries, held, outcome)]


def killed_flows(place: Workplace, tries: int, rng: random.Random) -> list[Outcome]:
    """All processes of the command's group at once."""
    held = _killed(place, tries, rng, _kill_group)
    return [Outcome("kill -9 of the whole flow", tries, held, "the same")]


def killed_repairs(place: Workplace, tries: int, rng: random.Random) -> list[Outcome]:
    """The driver of a repair of many shards, then the same repair again."""
    held = 0
    for _ in range(tries):
        order = place.copy(place.long, "repair.zarr")
        for number in range(60):
            (order.root / f"train/image/c/{number}/0/0/0").write_bytes(b"")
        words = ["repair", order.root, "--workers", "2"]
        with command(*words) as running:
            until = time.monotonic() + MOST_SECONDS
            made = rng.randrange(2, 40)
            while time.monotonic() < until and running.process.poll() is None:
                if (order.root / f"train/image/c/{made}/0/0/0").stat().st_size:
                    break
                time.sleep(0.02)
            _kill_driver(running)
            gone = running.alone()
        refused = gone and not (order.root / commit.MARKER).exists() and not bad_receipts(order)
        held += refused and succeeds(*words) and same(order, place.long)
    outcome = "readers refuse the store; the same command ends the repair, every byte as it was"
    return [Outcome("kill -9 of a repair", tries, held, outcome)]


def two_at_once(place: Workplace, tries: int, *_: Any) -> list[Outcome]:
    """One is stopped in the middle so that the other surely meets it, then goes on."""
    held = 0
    for _ in range(tries):
        order = place.empty(place.long, "both.zarr")
        with command(*simulate(order.root)) as first:
            met = first.meet(order.root, 1)
            first.process.send_signal(signal.SIGSTOP)
            refused = fails(simulate(order.root), f"another process is writing {order.root}")
            first.process.send_signal(signal.SIGCONT)
            code, _said = first.ended()
            held += met and refused and code == 0 and first.alone() and same(order, place.long)
    outcome = "one makes the store, the other says that it is being written and ends with code 1"
    return [Outcome("two commands make one store", tries, held, outcome)]


def other_stores(place: Workplace, *_: Any) -> list[Outcome]:
    """The store of another recipe, of another seed, and one that other versions began."""
    order = place.copy(place.long, "other.zarr")
    digest = order.recipe.digest
    trials = [
        fails([*simulate(order.root), "--set", "samples_per_class=301"], digest, "digest"),
        fails([*simulate(order.root), "--set", "seed=7"], digest, "digest"),
        fails(["simulate", "model_ii", "--out", order.root], digest, "digest"),
    ]
    before = order.root / commit.PLAN
    begun = place.empty(place.long, "begun.zarr")
    (begun.root / commit.BOOKS).mkdir(parents=True)
    versions = order.plan.provenance.versions
    older = before.read_text().replace(f'"numpy": "{versions["numpy"]}"', '"numpy": "1.0"')
    (begun.root / commit.PLAN).write_text(older)
    shutil.copy(order.root / commit.RECIPE, begun.root / commit.RECIPE)
    trials.append(fails(simulate(begun.root), "numpy 1.0", f"numpy {versions['numpy']}", digest))
    outcome = "refused with both digests, or both versions; nothing is written"
    event = "a store of another recipe, another seed, other versions"
    return [Outcome(event, len(trials), sum(trials) if same(order, place.long) else 0, outcome)]


def clean(order: Order) -> bool:
    """Whether there is nothing half-written and no receipt of a bad shard."""
    return not bad_receipts(order) and not list(order.root.rglob(f"*{commit.TEMPORARY}"))
