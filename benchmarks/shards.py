"""What a shard costs beside its own work: thousands of shards of a few rows, in one process and through Dask.

    python -m benchmarks.shards [--shards N] [--rounds N] [--out shards.json]

Each round makes the same store on one core in one process, shard after shard, and in the mapped form with one
worker; both read back what they wrote, and the files must be the same. Prefect is left out: it sees one task,
however many shards there are. A third contestant gives as many shards that do nothing to a worker one by one,
which is what a task costs Dask. Ratios within a round, medians over the rounds.

By the clock the figures are those of a quiet machine or of none. By the processor's time of all processes, as
the slope between a tenth of the shards and all of them, other work hardly moves them; starting is left out.
"""

import argparse
import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.machine import describe
from flows import making, tally
from flows.clusters.opening import cluster_of
from flows.orders import prepare
from flows.shards import Order, Ticket, make_shard
from flows.suspects import Suspects
from schemas.cluster import LocalWorkers
from schemas.store import Receipt
from simulate.render import warm_up
from storage import commit, layout
from storage.layout import Span

ROOT = Path(__file__).parents[1]
ROWS = 4
CLASSES = 3
PINNED = """
import os, sys
os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
from benchmarks import shards
print(getattr(shards, sys.argv[1])(sys.argv[2], int(sys.argv[3])))
"""


def overrides(count: int) -> list[str]:
    """What makes `tiny` so many shards of a few small images."""
    return [
        f"samples_per_class={max(1, count * ROWS // CLASSES)}",
        "instrument.num_pix=16",
        "classes.vortex.substructure.half_length_at_1e22_arcsec=0.01",
        "splits={train: 0.8, test: 0.2}",
    ]


def alone(store: str, count: int) -> float:
    """Seconds for all shards in this process, one after the other."""
    order = prepare("tiny", store, ROWS, overrides(count))
    warm_up(order.recipe)
    with _written(order) as receipts:
        started = time.perf_counter()
        for span in layout.spans(order.plan):
            make_shard(order.root, order.recipe, order.plan, span)
            found = commit.valid_receipt(order.root, order.plan, span, thorough=False)
            receipts |= {span: found} if found else {}
        return time.perf_counter() - started


def mapped(store: str, count: int) -> float:
    """Seconds for all shards by one worker, from when it was ready."""
    tally.create_progress_artifact = lambda **_: None  # type: ignore[assignment]
    tally.update_progress_artifact = lambda *_, **__: None  # type: ignore[assignment]
    order = prepare("tiny", store, ROWS, overrides(count))
    spans = list(layout.spans(order.plan))
    with _written(order) as receipts, cluster_of(LocalWorkers(workers=1), count) as runner:
        making.prepare_workers(runner.client, order.ticket, mapped=True)
        started = time.perf_counter()
        with tally.Tally(order, spans, lambda _: None) as seen:
            for made in making.completed(runner.client, order.ticket, spans, Suspects()):
                seen.arrived(made)
            receipts |= seen.receipts()
        return time.perf_counter() - started


@contextlib.contextmanager
def _written(order: Order) -> Iterator[dict[Span, Receipt]]:
    """A store that is begun, to be sealed with the receipts that come."""
    receipts: dict[Span, Receipt] = {}
    with commit.writing(order.root):
        commit.begin(order.root, order.recipe, order.plan)
        yield receipts
        every = [receipts[span] for span in layout.spans(order.plan)]
        commit.seal(order.root, order.recipe, order.plan, every)


def nothing(ticket: Ticket, spans: Sequence[Span]) -> float:  # noqa: ARG001 - as make_shards has it
    """A shard that takes no time; it says that it took a second, so that the next goes alone, too."""
    return 1.0


def empty(_: str, count: int) -> float:
    """Seconds for as many tasks that do nothing, one shard each."""
    making.make_shards = nothing
    ticket = Ticket("/nowhere", "0" * 64, "0" * 64)
    spans = [Span("train", number, number * ROWS, ROWS) for number in range(count)]
    with cluster_of(LocalWorkers(workers=1), count) as runner:
        list(making.completed(runner.client, ticket, spans[:50], Suspects()))
        started = time.perf_counter()
        list(making.completed(runner.client, ticket, spans, Suspects()))
        return time.perf_counter() - started


CONTESTANTS: tuple[Callable[[str, int], float], ...] = (alone, mapped, empty)


def run(contestant: Callable[[str, int], float], store: Path, count: int) -> tuple[float, float]:
    """One run on one core: its own seconds, and the processor's seconds of all its processes."""
    home = str(store.parent / "home")
    environment = {**os.environ, "LENSMILL_HOME": home, "DASK_LOGGING__DISTRIBUTED": "critical"}
    command = [sys.executable, "-c", PINNED, contestant.__name__, str(store), str(count)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        command,
        env=environment | {"PREFECT_LOGGING_LEVEL": "CRITICAL"},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return float(done.stdout.split()[-1]), busy


def one_round(count: int) -> dict[str, tuple[float, float]]:
    """Seconds of all contestants; the stores are the same."""
    with tempfile.TemporaryDirectory() as folder:
        stores = {one.__name__: Path(folder) / f"{one.__name__}.zarr" for one in CONTESTANTS}
        found = {one.__name__: run(one, stores[one.__name__], count) for one in CONTESTANTS}
        books = [(stores[name] / commit.MANIFEST).read_bytes() for name in ("alone", "mapped")]
        if books[0] != books[1]:
            raise SystemExit("the two stores differ")
    return found


def per_shard(most: int, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Milliseconds a shard by the clock, and by the processor as the slope from a tenth to all shards."""
    names = [one.__name__ for one in CONTESTANTS]
    found: dict[str, dict[str, list[float]]] = {"clock": {name: [] for name in names}}
    found["processor"] = {name: [] for name in names}
    for _ in range(rounds):
        few, many = one_round(most // 10), one_round(most)
        for name in names:
            found["clock"][name].append(1000 * many[name][0] / most)
            found["processor"][name].append(1000 * (many[name][1] - few[name][1]) / (most - most // 10))
    return found


def measure(count: int, rounds: int) -> dict[str, Any]:
    """All figures, as JSON takes them."""
    found = per_shard(count, rounds)
    return {
        "machine": describe(max(os.sched_getaffinity(0))),
        "shards": count,
        "rows_of_a_shard": ROWS,
        "rounds": rounds,
        **{what: _summary(each) for what, each in found.items()},
    }


def _summary(each: dict[str, list[float]]) -> dict[str, Any]:
    pairs = list(zip(each["mapped"], each["alone"], strict=True))
    return {
        "ms_per_shard": {name: round(statistics.median(values), 3) for name, values in each.items()},
        "mapped_over_alone": round(statistics.median(more / less for more, less in pairs), 3),
        "overhead_ms_per_shard": round(statistics.median(more - less for more, less in pairs), 3),
        "all_ms_per_shard": {name: [round(one, 3) for one in values] for name, values in each.items()},
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shards", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args(arguments)
    text = json.dumps(measure(options.shards, options.rounds), indent=2)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
