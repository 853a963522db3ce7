"""Does training wait for its data? Steps per second with real data, beside the same steps with one batch.

    python -m benchmarks.train --out benchmarks/results/train.json --docs docs/training.md
    python -m benchmarks.train --quick

A step is stretch, network, loss, gradients and AdamW on the device at hand. A pair is a short turn with an
epoch of Model II at 64 x 64, as training takes it, and one with a batch that is on the device already;
which of them is first changes from pair to pair, and all sources of data take turns. What else the machine
does hits both of a pair, so a ratio is that of a pair; shown is the median with the 95% interval that the
order of the pairs gives. The CPU time of the whole process says the same whoever else was running: what a
reading thread takes counts in full there, though a spare core would hide it. An epoch's first batch comes
before the clock starts and has a column of its own. The tiny network is hardly more than a stretch: it
shows where data become the limit. The data are in the page cache.
"""

import sys
from pathlib import Path

# run by its path, this file would hide the package of its name
if Path(sys.path[0]).resolve() == Path(__file__).resolve().parent:
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse
import contextlib
import json
import os
import statistics
import tempfile
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from scipy.stats import binom
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.machine import describe
from benchmarks.storage_data import store_of
from schemas.experiment import ModelOptions
from schemas.preparation import AsinhStretch
from storage.reader import Store
from train.data import load_samples
from train.feeding import Feed, LensBatch
from train.models.assembly import assemble
from train.models.registry import Shape
from train.records.run_folder import device, device_name
from train.stretch import LOOKED_AT, Stretch, fit_stretch

PAGE = Path(__file__).resolve().parents[1] / "docs" / "training.md"
START, END = "<!-- data path: begin -->", "<!-- data path: end -->"
# fewer have no interval
LEAST_PAIRS = 6
LEAST_STEPS = 3
AIM = 0.95
CLASSES = 3
TINY = "tiny"
# how images are held, and in which profile of the store
SOURCES = (
    ("resident", "resident", "float32"),
    ("resident, codes", "resident", "quantised"),
    ("streamed", "streamed", "float32"),
    ("streamed, codes", "streamed", "quantised"),
)


class Turn(NamedTuple):
    """What a step took in one turn, in seconds; of the process, `cpu` is that of all its threads."""

    seconds: float
    cpu: float
    waited: float
    # the first batch of the epoch
    began: float


@dataclass
class Source:
    """A source of batches with its turns, and those with one batch that they are compared with."""

    name: str
    feed: Feed
    real: list[Turn] = field(default_factory=list)
    fixed: list[Turn] = field(default_factory=list)

    def compare(self, step: "Trainee", batch: LensBatch, number: int, steps: int) -> None:
        """One pair."""
        turns = [
            (self.real, lambda: _epoch(self.feed, number)),
            (self.fixed, lambda: _repeated(batch)),
        ]
        for kept, begun in turns if number % 2 else reversed(turns):
            # a thread that reads ahead ends with its turn
            with contextlib.closing(begun()) as batches:
                kept.append(taken(step, batches, steps))


def taken(step: "Trainee", batches: Iterator[LensBatch], steps: int) -> Turn:
    """One turn; its first step is not counted."""
    asked = time.perf_counter()
    first = next(batches)
    began = time.perf_counter() - asked
    step(first)
    _wait_for_device()
    waited, started, cpu = 0.0, time.perf_counter(), time.process_time()
    for _ in range(steps):
        asked = time.perf_counter()
        batch = next(batches)
        waited += time.perf_counter() - asked
        step(batch)
    _wait_for_device()
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    return Turn(seconds / steps, cpu / steps, waited / steps, began)


def _epoch(feed: Feed, number: int) -> Generator[LensBatch, None, None]:
    feed.begin(number)
    yield from feed


def _repeated(batch: LensBatch) -> Generator[LensBatch, None, None]:
    while True:
        yield batch


class Trainee:
    """A network with its optimiser."""

    def __init__(self, network: nn.Module, stretch: Stretch) -> None:
        self.network = nn.Sequential(stretch, network).to(device()).train()
        self.optimiser = torch.optim.AdamW(self.network.parameters())

    def __call__(self, batch: LensBatch) -> Tensor:
        """One step of training."""
        self.optimiser.zero_grad()
        loss = functional.cross_entropy(self.network(batch.images), batch.target)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        return loss


def networks(side: int) -> dict[str, nn.Module]:
    """Our own transformer, a quick one of timm's, and as little of a network as learns at all."""
    named = {
        name: assemble(ModelOptions(name=name), Shape(1, side, CLASSES)).network
        for name in ("lensmill_stem_vit", "mobilenetv3_small_100")
    }
    pooled = nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.Linear((side // 8) ** 2, CLASSES))
    return {**named, TINY: pooled}


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All sources in turn, for each network."""
    before = os.getloadavg()
    with tempfile.TemporaryDirectory(prefix="lensmill-train-", dir=options.folder) as name:
        stores = {one: store_of(Path(name), options.images, one) for one in ("float32", "quantised")}
        feeds = {label: _feed(stores[profile], mode, options.batch) for label, mode, profile in SOURCES}
        samples = feeds["streamed"].samples
        stretch = Stretch(fit_stretch(AsinhStretch(), samples.at_most(LOOKED_AT)))
        found = {
            label: _compete(Trainee(network, stretch), feeds, options)
            for label, network in networks(samples.shape[-1]).items()
        }
    return {
        "machine": describe(None) | {"load_before": before, "load_after": os.getloadavg()},
        "device": device_name(),
        "threads": torch.get_num_threads(),
        "settings": {"images": options.images, "batch": options.batch, "pairs": options.pairs},
        "networks": found,
    }


def _feed(store: Store, mode: Any, size: int) -> Feed:
    labels = tuple(one.label for one in store.plan.classes)
    samples = load_samples(store, "train", labels, mode=mode, device=device())
    return Feed(samples, torch.from_numpy(samples.label).long(), size, seed=1, device=device())


def _compete(step: Trainee, feeds: dict[str, Feed], options: argparse.Namespace) -> dict[str, Any]:
    sources = [Source(label, feed) for label, feed in feeds.items()]
    batch = next(iter(feeds["resident"]))
    steps = options.steps or _steps_in(options.seconds, step, batch)
    # no longer than the shortest epoch
    steps = min(steps, *(len(feed) - 1 for feed in feeds.values()))
    for number in range(options.pairs):
        for one in sources if number % 2 else reversed(sources):
            one.compare(step, batch, number, steps)
        print(f"pair {number + 1} of {options.pairs}", file=sys.stderr, flush=True)
    return {"steps_per_turn": steps, "sources": {one.name: _numbers(one) for one in sources}}


def _steps_in(seconds: float, step: Trainee, batch: LensBatch) -> int:
    trial = [taken(step, _repeated(batch), LEAST_STEPS) for _ in range(2)]
    return max(LEAST_STEPS, round(seconds / trial[-1].seconds))


def _numbers(one: Source) -> dict[str, Any]:
    pairs = list(zip(one.fixed, one.real, strict=True))
    wall = [fixed.seconds / real.seconds for fixed, real in pairs]
    cpu = [fixed.cpu / real.cpu for fixed, real in pairs]
    return {
        "steps_per_s": 1 / statistics.median(turn.seconds for turn in one.real),
        "of_one_batch": statistics.median(wall),
        "interval": interval(wall),
        "cpu_of_one_batch": statistics.median(cpu),
        "cpu_interval": interval(cpu),
        "waits": statistics.median(turn.waited / turn.seconds for turn in one.real),
        "first_batch_ms": round(1e3 * statistics.median(turn.began for turn in one.real), 3),
        "turns_ms": {"one batch": _turns_ms(one.fixed), "data": _turns_ms(one.real)},
    }


def _turns_ms(turns: list[Turn]) -> list[dict[str, float]]:
    return [{name: round(1e3 * value, 3) for name, value in one._asdict().items()} for one in turns]


def interval(values: list[float]) -> tuple[float, float]:
    """The 95% interval of a median from the order of the values alone; of a few, the least and the most."""
    ordered, outside = sorted(values), max(1, int(binom.ppf(0.025, len(values), 0.5)))
    return ordered[outside - 1], ordered[-outside]


def _wait_for_device() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def markdown(results: dict[str, Any]) -> str:
    """A table of all networks and sources."""
    settings, machine = results["settings"], results["machine"]
    lines = [
        f"{results['device']}, {machine['processor']}, threads of torch: {results['threads']}; commit"
        f" {machine['commit']}. {settings['images']:,} images of 64 x 64, batches of {settings['batch']},"
        f" medians of {settings['pairs']} pairs with their 95% intervals; load"
        f" {machine['load_before'][0]:.1f} before and {machine['load_after'][0]:.1f} after.",
        "",
        "| network | data | steps per second | of one batch | in CPU time | waits | first batch [ms] |",
        "|---|---|---|---|---|---|---|",
    ]
    for network, found in results["networks"].items():
        lines += [_cells(network, name, one) for name, one in found["sources"].items()]
    return "\n".join(lines)


def _cells(network: str, name: str, one: dict[str, Any]) -> str:
    wall, cpu = (
        f"{one[what]:.3f} ({low:.3f} to {high:.3f})"
        for what, (low, high) in (
            ("of_one_batch", one["interval"]),
            ("cpu_of_one_batch", one["cpu_interval"]),
        )
    )
    steps, first = f"{one['steps_per_s']:.4g}", f"{one['first_batch_ms']:.1f}"
    return f"| {network} | {name} | {steps} | {wall} | {cpu} | {one['waits']:.1%} | {first} |"


def write_into(page: Path, results: dict[str, Any]) -> None:
    """Put the table between the markers of a page."""
    text = page.read_text()
    if START not in text or END not in text:
        raise SystemExit(f"{page} must have the lines {START} and {END}")
    before, after = text.split(START)[0], text.split(END)[1]
    page.write_text(f"{before}{START}\n\n{markdown(results)}\n\n{END}{after}")


def too_slow(results: dict[str, Any]) -> list[str]:
    """Networks of use that wait for their data, with the source."""
    return [
        f"{network} with {name} data ({one['of_one_batch']:.3f})"
        for network, found in results["networks"].items()
        for name, one in found["sources"].items()
        if network != TINY and one["of_one_batch"] < AIM
    ]


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.train",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--images", type=int, default=3 << 13, help="24,576 by default: 0.4 GB as float32")
    add("--batch", type=int, default=64, help="samples per step; 64 by default")
    add("--pairs", type=int, default=21, help=f"at least {LEAST_PAIRS}; 21 by default")
    add("--seconds", type=float, default=0.7, help="about so long is a turn; 0.7 by default")
    add("--threads", type=int, help="of torch, for the network; all cores by default")
    add("--folder", type=Path, help="where the stores are written; by default the system's temporary folder")
    add("--quick", action="store_true", help="one pair of few steps: a smoke test, no result")
    add("--from", dest="results", type=Path, metavar="JSON", help="measure nothing, show these results")
    add("--out", type=Path, metavar="JSON", help="write the results there")
    add("--docs", type=Path, nargs="?", const=PAGE, metavar="PAGE", help="write the table into this page")
    options = parser.parse_args(arguments)
    options.steps = 2 if options.quick else None
    if options.quick:
        options.pairs, options.images = 1, min(options.images, 3 << 8)
    elif options.pairs < LEAST_PAIRS:
        parser.error(f"{options.pairs} pairs have no interval; give at least {LEAST_PAIRS}, or --quick")
    return options


def main(arguments: list[str] | None = None) -> None:
    """Measure or load, then print and write. Fails where a network of use waits for its data."""
    options = parse(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    results = json.loads(options.results.read_text()) if options.results else measure(options)
    if options.out:
        options.out.write_text(json.dumps(results, indent=1) + "\n")
    if options.docs:
        write_into(options.docs, results)
    print(markdown(results))
    if (slow := too_slow(results)) and not options.quick:
        raise SystemExit(f"below {AIM:.0%} of the steps with one batch: {', '.join(slow)}")


if __name__ == "__main__":
    main()
