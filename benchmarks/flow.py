"""The flow beside pure rendering, on one worker and on two, and what the memory of a worker does.

    python -m benchmarks.flow [RECIPE] [--images N] [--rounds N] [--out flow.json]

Each round makes the data set on one worker with one core, on one with two and on two, mapped, and renders
as many images in one and in two processes without writing anything. The clock of the flow starts when its
workers are ready and stops when all shards are written, synced and read back; the store is then verified
byte by byte. Medians over the rounds.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import psutil

from flows.catalogue import load_recipe
from simulate.render import render, warm_up
from storage.verify import verify

SHARD = 1024
WORKERS = (1, 2)
# workers and cores of each run: a worker renders on one core while it writes on another, if there is one
RUNS = ((1, 1), (1, 2), (2, 2))
SAMPLING_SECONDS = 0.25
FLOW = """
import os
import sys
recipe, out, workers, images, shard, cores = sys.argv[1:]
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-int(cores):])
from flows.generate import generate
made = generate(recipe, out, int(workers), int(shard), [f"samples_per_class={images}"], True, mapped=True)
print(made.model_dump_json())
"""


def rendered_per_s(recipe_name: str, shards: int, processes: int) -> float:
    """Images per second of pure rendering, processes warm before the clock starts."""
    with ProcessPoolExecutor(processes) as pool:
        list(pool.map(_render, [recipe_name] * processes, [0] * processes, [8] * processes))
        started = time.perf_counter()
        list(pool.map(_render, [recipe_name] * shards, range(shards), [SHARD] * shards))
        return shards * SHARD / (time.perf_counter() - started)


def _render(recipe_name: str, shard: int, rows: int) -> None:
    recipe = load_recipe(recipe_name)
    if rows < SHARD:
        warm_up(recipe)
    render(recipe, np.arange(rows) + shard * SHARD)


def made_per_s(recipe_name: str, per_class: int, workers: int, cores: int) -> tuple[float, list[list[float]]]:
    """Images per second of the flow, and the memory of each worker over time in MB; the store is verified.

    All its processes, Prefect's server among them, share this many cores.
    """
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store.zarr"
        arguments = [recipe_name, str(store), str(workers), str(per_class), str(SHARD), str(cores)]
        environment = {**os.environ, "LENSMILL_HOME": str(Path(folder) / "home")}
        run = subprocess.Popen(
            [sys.executable, "-c", FLOW, *arguments], env=environment, stdout=subprocess.PIPE, text=True
        )
        watch = Watch(run.pid)
        said, _ = run.communicate()
        watch.stop()
        if run.returncode:
            raise SystemExit(f"the flow ended with {run.returncode}")
        found = verify(store)
        if not found.sound:
            raise SystemExit("\n".join(found.faults))
        return float(json.loads(said.splitlines()[-1])["images_per_s"]), watch.workers


class Watch(threading.Thread):
    """Samples the memory of a flow's Dask workers."""

    def __init__(self, flow: int) -> None:
        super().__init__(daemon=True)
        self.flow = psutil.Process(flow)
        self.memory: dict[int, list[float]] = {}
        self.over = threading.Event()
        self.start()

    def run(self) -> None:
        """Until told to stop."""
        while not self.over.wait(SAMPLING_SECONDS):
            try:
                children = self.flow.children(recursive=True)
                for child in children:
                    if "multiprocessing" in " ".join(child.cmdline()):
                        self.memory.setdefault(child.pid, []).append(child.memory_info().rss / 1e6)
            except psutil.Error:
                continue

    def stop(self) -> None:
        """No more samples."""
        self.over.set()
        self.join()

    @property
    def workers(self) -> list[list[float]]:
        """Of processes that do more than watch over others."""
        return [values for values in self.memory.values() if max(values) > 150]


def measure(recipe_name: str, per_class: int, rounds: int) -> dict[str, object]:
    """All figures, as JSON takes them."""
    shards = per_class * len(load_recipe(recipe_name).classes) // SHARD
    flow: dict[tuple[int, int], list[float]] = {run: [] for run in RUNS}
    pure: dict[int, list[float]] = {workers: [] for workers in WORKERS}
    memory: list[list[float]] = []
    for _ in range(rounds):
        for run in RUNS:
            rate, memory = made_per_s(recipe_name, per_class, *run)
            flow[run].append(rate)
        for workers in WORKERS:
            pure[workers].append(rendered_per_s(recipe_name, min(shards, 40), workers))
    rates = {
        **{_name(*run): statistics.median(flow[run]) for run in RUNS},
        **{f"pure_{workers}": statistics.median(pure[workers]) for workers in WORKERS},
    }
    return {
        "recipe": recipe_name,
        "images": per_class * len(load_recipe(recipe_name).classes),
        "shards_rendered": min(shards, 40),
        "rounds": rounds,
        "images_per_s": {name: round(rate) for name, rate in rates.items()},
        "all_rates": {"flow": {_name(*run): flow[run] for run in RUNS}, "pure": pure},
        "two_workers_over_one": _ratio(flow[2, 2], flow[1, 2]),
        "two_workers_over_one_with_a_core_each": _ratio(flow[2, 2], flow[1, 1]),
        "flow_over_pure_on_one_core": _ratio(flow[1, 1], pure[1]),
        "flow_over_pure_on_two_cores": _ratio(flow[2, 2], pure[2]),
        "worker_memory_mb": [
            [round(value) for value in values[:: max(1, len(values) // 12)]] for values in memory
        ],
    }


def _name(workers: int, cores: int) -> str:
    return f"flow_{workers}_on_{cores}_cores"


def _ratio(some: list[float], others: list[float]) -> float:
    """The median of the rounds."""
    return round(float(statistics.median(np.divide(some, others))), 2)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", nargs="?", default="model_ii")
    parser.add_argument("--images", type=int, default=30_000, help="images of each class")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    text = json.dumps(measure(options.recipe, options.images, options.rounds), indent=2)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
