"""The whole orchestration beside the same shards from a plain pool of processes; how soon the first comes.

    python -m benchmarks.flow [RECIPE] [--seconds S] [--rounds N] [--out FILE] [--docs docs/benchmarks.md]

Each round makes a data set twice, in turn first: by the flow, with a Prefect server and Dask workers of its
own, and by `concurrent.futures`, whose processes call `flows.shards.make_shard` on the same plan. Both write,
sync and receipt the same files. The number of shards is such that the pool works for the time asked for.
`work` is from when the workers are ready to the last shard, for the flow with all of them read back; `whole`
is the command from its start to its end, server, imports and workers included. Every store is verified.

Before that, the first shard: the seconds from the start of the command to the first receipt, in a state
folder that nobody used, once with nothing compiled and then as on any later day.
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import describe
from storage.verify import verify

ROOT = Path(__file__).resolve().parents[1]
START, END = "<!-- flow: begin -->", "<!-- flow: end -->"
AIM, FIRST_SHARD_SECONDS, LEAST_SECONDS = 1.10, 20.0, 60.0
SHARD, PROBE_SHARDS = 1024, 6
FLOW = """
import sys
recipe, out, workers, per_class, shard = sys.argv[1:]
from flows.serving.server import set_private_environment
set_private_environment()
from flows.simulating import generate
if __name__ == "__main__":
    made = generate(recipe, out, int(workers), int(shard), [f"samples_per_class={per_class}"], True)
    print(made.seconds)
"""
POOL = """
import sys, time
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
recipe, out, workers, per_class, shard = sys.argv[1:]
from flows.orders import prepare
from flows.galaxies import galaxies_of
from flows.shards import make_shard
from simulate.render import warm_up
from storage import commit, layout

def warm(recipe):
    warm_up(recipe, galaxies_of(recipe))
    time.sleep(0.5)

if __name__ == "__main__":
    order = prepare(recipe, out, int(shard), [f"samples_per_class={per_class}"])
    with commit.writing(order.root), ProcessPoolExecutor(int(workers)) as pool:
        commit.begin(order.root, order.recipe, order.plan)
        spans = list(layout.spans(order.plan))
        list(pool.map(warm, repeat(order.recipe, int(workers))))
        started = time.perf_counter()
        receipts = list(pool.map(make_shard, *map(repeat, (order.root, order.recipe, order.plan)), spans))
        seconds = time.perf_counter() - started
        commit.seal(order.root, order.recipe, order.plan, receipts)
    print(seconds)
"""
SIDES = {"flow": FLOW, "pool": POOL}


@dataclass(frozen=True)
class Timing:
    """One data set made."""

    work_s: float
    whole_s: float
    first_shard_s: float
    cpu_s: float
    # of all cores together, by other guests of a rented machine: why rounds differ
    stolen_s: float
    images: int


def made(side: str, recipe: str, per_class: int, workers: int, home: Path) -> Timing:
    """A data set made by one side in a process of its own; the store is verified and removed."""
    with tempfile.TemporaryDirectory(dir=home.parent) as folder:
        # a state folder that nobody used, but for what numba compiled
        state = Path(folder) / "home"
        os.environ["LENSMILL_HOME"] = str(state)
        os.environ["NUMBA_CACHE_DIR"] = str(home / "numba")
        store = Path(folder) / "store.zarr"
        words = [recipe, str(store), str(workers), str(per_class), str(SHARD)]
        before, taken, began, started = _cpu(), _stolen(), time.time(), time.perf_counter()
        said = subprocess.run(
            [sys.executable, "-c", SIDES[side], *words],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        whole = time.perf_counter() - started
        cpu, stolen = _cpu() - before, _stolen() - taken
        receipts = [path for path in (store / "lensmill" / "receipts").rglob("*") if path.is_file()]
        first = min(path.stat().st_mtime for path in receipts) - began
        found = verify(store)
        if not found.sound:
            raise SystemExit("\n".join(found.faults))
        return Timing(float(said.stdout.splitlines()[-1]), whole, first, cpu, stolen, found.rows)


def _cpu() -> float:
    """Seconds of all processes that this one started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _stolen() -> float:
    """Seconds in which a core of this machine had work and did not get to do it; Linux alone knows."""
    file = Path("/proc/stat")
    # user, nice, system, idle, iowait, irq, softirq, steal
    return int(file.read_text().split()[8]) / os.sysconf("SC_CLK_TCK") if file.exists() else 0.0


def measure(recipe: str, seconds: float, rounds: int, workers: int, folder: Path) -> dict[str, Any]:
    """All figures, as JSON takes them."""
    home = folder / "kept"
    home.mkdir()
    per_class = SHARD * PROBE_SHARDS
    compiled = made("flow", recipe, per_class, workers, home)
    # the first probe is the first that finds everything compiled
    again = made("flow", recipe, per_class, workers, home)
    probe = made("pool", recipe, per_class, workers, home)
    per_class = SHARD * max(PROBE_SHARDS, round(per_class * seconds / probe.work_s / SHARD))
    timings: dict[str, list[Timing]] = {side: [] for side in SIDES}
    for number in range(rounds):
        for side in SIDES if number % 2 == 0 else reversed(SIDES):
            timings[side].append(made(side, recipe, per_class, workers, home))
            print(side, timings[side][-1], flush=True)
    return {
        "recipe": recipe,
        "workers": workers,
        "rounds": rounds,
        "images": timings["flow"][0].images,
        "shard_images": SHARD,
        "first_shard_s": {
            "nothing_compiled": round(compiled.first_shard_s, 1),
            "later": [round(one.first_shard_s, 1) for one in (again, *timings["flow"])],
        },
        "ratio": {what: _ratio(timings, what) for what in ("work_s", "whole_s", "cpu_s")},
        "rounds_of": {side: [asdict(one) for one in several] for side, several in timings.items()},
    }


def _ratio(timings: dict[str, list[Timing]], what: str) -> dict[str, float]:
    flow, pool = ([getattr(one, what) for one in timings[side]] for side in SIDES)
    each = [one / other for one, other in zip(flow, pool, strict=True)]
    of_medians = statistics.median(flow) / statistics.median(pool)
    return {
        name: round(value, 3)
        for name, value in (("of_medians", of_medians), ("least", min(each)), ("most", max(each)))
    }


def table(found: dict[str, Any]) -> str:
    """The figures as Markdown."""
    first, machine = found["first_shard_s"], found["machine"]
    lines = [
        f"{found['images']:,} images of `{found['recipe']}` in shards of {found['shard_images']},"
        f" {found['workers']} workers; medians of {found['rounds']} rounds; {machine['processor']},"
        f" {machine['cores']} cores, load before {machine['load_before'][0]:.1f};"
        f" commit {machine['commit']}.",
        "",
        "| | the flow | `concurrent.futures` | ratio (spread) |",
        "|---|---|---|---|",
    ]
    names = {"work_s": "work", "whole_s": "whole command", "cpu_s": "processor time"}
    for what, name in names.items():
        flow, pool = (statistics.median(one[what] for one in found["rounds_of"][side]) for side in SIDES)
        ratio = found["ratio"][what]
        spread = f"**{ratio['of_medians']:.2f}** ({ratio['least']:.2f} to {ratio['most']:.2f})"
        lines.append(f"| {name} | {flow:.1f} s | {pool:.1f} s | {spread} |")
    flow, pool = (_stolen_share(found, side) for side in SIDES)
    lines += [
        "",
        f"Of the cores' time {flow:.0%} (flow) and {pool:.0%} (pool) went to other guests of the machine.",
        "",
        f"First shard on the disk after {statistics.median(first['later']):.1f} s (median of"
        f" {len(first['later'])}; {min(first['later']):.1f} to {max(first['later']):.1f}), in a state folder"
        f" that nobody used; after {first['nothing_compiled']:.1f} s where numba has yet to compile all.",
    ]
    return "\n".join(lines) + "\n"


def _stolen_share(found: dict[str, Any], side: str) -> float:
    """Of all cores' time, in the median round."""
    rounds, cores = found["rounds_of"][side], found["machine"]["cores"]
    return statistics.median(one["stolen_s"] / (cores * one["whole_s"]) for one in rounds)


def write_docs(page: Path, text: str) -> None:
    """A new table between the page's markers."""
    head, _, rest = page.read_text().partition(START)
    _, found, tail = rest.partition(END)
    if not found:
        raise SystemExit(f"{page} lacks the markers {START} and {END}")
    page.write_text(f"{head}{START}\n{text}{END}{tail}")


def main(arguments: list[str] | None = None) -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.flow",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("recipe", nargs="?", default="model_ii")
    add("--seconds", type=float, default=LEAST_SECONDS, help="work of the pool in each round")
    add("--rounds", type=int, default=5)
    add("--workers", type=int, default=2)
    add("--folder", type=Path, help="where stores are made; a temporary folder by default")
    add("--out", type=Path, help="JSON file to write")
    add("--docs", type=Path, metavar="PAGE", help="write the table between the markers of this page")
    add("--from", dest="earlier", type=Path, metavar="JSON", help="write the table of an earlier run")
    options = parser.parse_args(arguments)
    if options.earlier:
        found = json.loads(options.earlier.read_text())
    else:
        machine = describe(None)
        folder = Path(tempfile.mkdtemp(prefix="lensmill-flow-", dir=options.folder))
        try:
            found = measure(options.recipe, options.seconds, options.rounds, options.workers, folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        found["machine"] = machine
    print(table(found))
    if options.out:
        options.out.write_text(json.dumps(found, indent=2) + "\n")
    if options.docs:
        write_docs(options.docs, table(found))


if __name__ == "__main__":
    main()
