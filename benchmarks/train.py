"""Does training wait for its data? Steps per second with real data, beside the same steps with one batch.

    python -m benchmarks.train --out benchmarks/results/train.json
    python -m benchmarks.train --quick

A step is stretch, network, loss, gradients and AdamW on the device at hand. `one batch` repeats a batch that
is on the device already; the others take epochs of Model II at 64 x 64 as training does. Every round begins
an epoch, all contestants take turns in it, and a ratio is that of the medians; `waits` is the part of the
time in which a step waited for its batch. The tiny network is hardly more than a stretch: it shows where data
become the limit. The data are in the page cache.
"""

import sys
from pathlib import Path

# run by its path, this file would hide the package of its name
if Path(sys.path[0]).resolve() == Path(__file__).resolve().parent:
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse
import itertools
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
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
from train.run_folder import device, device_name
from train.stretch import LOOKED_AT, Stretch, fit_stretch

LEAST_ROUNDS = 5
AIM = 0.95
CLASSES = 3
ONE_BATCH = "one batch"
# how images are held, and in which profile of the store
SOURCES = (
    ("resident", "resident", "float32"),
    ("resident, codes", "resident", "quantised"),
    ("streamed", "streamed", "float32"),
    ("streamed, codes", "streamed", "quantised"),
)


@dataclass
class Contestant:
    """A source of batches with the seconds that its steps took and waited, round by round."""

    name: str
    epoch: Callable[[int], Iterator[LensBatch]]
    seconds: list[float] = field(default_factory=list)
    waited: list[float] = field(default_factory=list)

    def measure(self, step: Callable[[LensBatch], object], number: int, steps: int) -> None:
        """One round: the first steps of an epoch."""
        waited, began = 0.0, time.perf_counter()
        batches = self.epoch(number)
        for _ in range(steps):
            asked = time.perf_counter()
            batch = next(batches)
            waited += time.perf_counter() - asked
            step(batch)
        _wait_for_device()
        self.seconds.append((time.perf_counter() - began) / steps)
        self.waited.append(waited / steps)


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
    """Our own transformer, and as little of a network as learns at all."""
    transformer = assemble(ModelOptions(), Shape(1, side, CLASSES)).network
    pooled = nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.Linear((side // 8) ** 2, CLASSES))
    return {"lensmill_stem_vit": transformer, "tiny": pooled}


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All contestants in turn, for each network."""
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
        "settings": {"images": options.images, "batch": options.batch, "rounds": options.rounds},
        "networks": found,
    }


def _feed(store: Store, mode: Any, size: int) -> Feed:
    labels = tuple(one.label for one in store.plan.classes)
    samples = load_samples(store, "train", labels, mode=mode, device=device())
    return Feed(samples, torch.from_numpy(samples.label).long(), size, seed=1, device=device())


def _epochs(feed: Feed, number: int) -> Iterator[LensBatch]:
    for epoch in itertools.count(number):
        feed.begin(epoch)
        yield from feed


def _contestants(feeds: dict[str, Feed]) -> list[Contestant]:
    batch = next(iter(feeds["resident"]))
    real = [
        Contestant(label, lambda number, feed=feed: _epochs(feed, number))  # type: ignore[misc]
        for label, feed in feeds.items()
    ]
    return [Contestant(ONE_BATCH, lambda _: itertools.repeat(batch)), *real]


def _compete(step: Trainee, feeds: dict[str, Feed], options: argparse.Namespace) -> dict[str, Any]:
    everyone = _contestants(feeds)
    steps = options.steps or _steps_in(options.seconds, step, everyone[0])
    for number in range(options.rounds):
        for one in everyone if number % 2 == 0 else reversed(everyone):
            one.measure(step, number, steps)
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr, flush=True)
    fixed = statistics.median(everyone[0].seconds)
    return {
        "steps_per_round": steps,
        "contestants": {one.name: _numbers(one, fixed) for one in everyone},
    }


def _steps_in(seconds: float, step: Trainee, one: Contestant) -> int:
    trial = Contestant("trial", one.epoch)
    for _ in range(2):
        trial.measure(step, 0, 3)
    return max(5, round(seconds / trial.seconds[-1]))


def _numbers(one: Contestant, fixed: float) -> dict[str, Any]:
    middle = statistics.median(one.seconds)
    return {
        "steps_per_s": 1 / middle,
        "of_one_batch": fixed / middle,
        "waits": statistics.median(one.waited) / middle,
        "each_ms": [round(1e3 * value, 3) for value in one.seconds],
        "waited_ms": [round(1e3 * value, 3) for value in one.waited],
    }


def _wait_for_device() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def markdown(results: dict[str, Any]) -> str:
    """A table of all networks and contestants."""
    settings, machine = results["settings"], results["machine"]
    lines = [
        f"{results['device']}, {machine['processor']}, commit {machine['commit']}: {settings['images']:,}"
        f" images of 64 x 64, batches of {settings['batch']}, medians of {settings['rounds']} rounds; load"
        f" {machine['load_before'][0]:.1f} before and {machine['load_after'][0]:.1f} after.",
        "",
        "| network | data | steps per second | of one batch | waits |",
        "|---|---|---|---|---|",
    ]
    for network, found in results["networks"].items():
        for name, one in found["contestants"].items():
            numbers = f"{one['steps_per_s']:.4g} | {one['of_one_batch']:.3f} | {one['waits']:.1%}"
            lines.append(f"| {network} | {name} | {numbers} |")
    return "\n".join(lines)


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
    add("--rounds", type=int, default=9, help=f"at least {LEAST_ROUNDS}; 9 by default")
    add("--seconds", type=float, default=2.0, help="about so long is a turn; 2 by default")
    add("--threads", type=int, help="of torch, for the network; all cores by default")
    add("--folder", type=Path, help="where the stores are written; by default the system's temporary folder")
    add("--quick", action="store_true", help="one round of few steps: a smoke test, no result")
    add("--from", dest="results", type=Path, metavar="JSON", help="measure nothing, show these results")
    add("--out", type=Path, metavar="JSON", help="write the results there")
    options = parser.parse_args(arguments)
    options.steps = 2 if options.quick else None
    if options.quick:
        options.rounds, options.images = 1, min(options.images, 3 << 8)
    elif options.rounds < LEAST_ROUNDS:
        parser.error(f"{options.rounds} rounds are no median; give at least {LEAST_ROUNDS}, or --quick")
    return options


def main(arguments: list[str] | None = None) -> None:
    """Measure or load, then print and write. Fails where a network of use waits for its data."""
    options = parse(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    results = json.loads(options.results.read_text()) if options.results else measure(options)
    if options.out:
        options.out.write_text(json.dumps(results, indent=2) + "\n")
    print(markdown(results))
    found = results["networks"]["lensmill_stem_vit"]["contestants"]
    slow = [name for name, one in found.items() if one["of_one_batch"] < AIM]
    if slow and not options.quick:
        raise SystemExit(f"below {AIM:.0%} of the steps with one batch: {', '.join(slow)}")


if __name__ == "__main__":
    main()
