"""Every family of networks at 64 x 64 and 150 x 150, one channel: parameters and milliseconds per image.

    python -m benchmarks.models                  # times all of them, in ten minutes
    python -m benchmarks.models --facts          # writes train/models/families.json instead
    python -m benchmarks.models --quick --only resnet18 --out models.json

    python -m benchmarks.models --table          # writes the last times into docs/models.md

Times are medians per image, forward in evaluation and forward with backward in training, of batches of 32
or as many as fit into the time; each network gets its share of what is left, so that all have their turn
even on a slow machine. `relative` compares forward with backward to resnet18's in the same run. How a
network takes images is read from train/models/families.json, since finding out takes longer than a step.
"""

import sys
from pathlib import Path

# run by its path, this folder's `simulate` would hide the package of that name
if Path(sys.path[0]).resolve() == Path(__file__).resolve().parent:
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse
import json
import time
from collections.abc import Callable
from fnmatch import fnmatch
from importlib.metadata import version
from statistics import median
from typing import Any

import torch
from pydantic import TypeAdapter
from torch import nn

from benchmarks.machine import describe
from train.models import rebuild
from train.models.families import FACTS, FAMILIES, SIDES, Facts, Family, facts, found_out
from train.models.registry import Shape

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "models.json"
PAGE = ROOT / "docs" / "models.md"
START, END = "<!-- models: begin -->", "<!-- models: end -->"
REFERENCE = "resnet18"
BATCH = 32
ROUNDS = 3
# for the rounds of one network at one size, at most and at least
SECONDS, LEAST_SECONDS = 0.6, 0.05
# of its share of the time at a size; the rest is for building it and for its first step
FOR_ROUNDS = 0.5
Row = dict[str, Any]
Named = tuple[Family, str]


def main(arguments: list[str] | None = None) -> None:
    """Time the networks, or write down what they are like."""
    options = _options(arguments)
    if options.table:
        write_into(options.docs, json.loads(options.out.read_text()))
        return
    named = [(family, name) for family in FAMILIES for name in family.names]
    if options.facts:
        known = {name: found_out(name) for _, name in named}
        text = TypeAdapter(dict[str, Facts]).dump_json(known, indent=1, exclude_defaults=True)
        FACTS.write_bytes(text + b"\n")
        return
    rows, left_out = _all_timed(named, options)
    order = [name for _, name in named]
    rows.sort(key=lambda row: (order.index(row["model"]), row["side"]))
    options.out.write_text(json.dumps({**_results(rows), "left_out": left_out}, indent=1) + "\n")


def _all_timed(named: list[Named], options: argparse.Namespace) -> tuple[list[Row], list[str]]:
    """A row for each network and size, and the names for which there was no time left."""
    chosen = [one for one in named if fnmatch(one[1], options.only) or one[1] == REFERENCE]
    # resnet18 first, since all others are compared with it; then the first of each family
    chosen.sort(key=lambda one: (one[1] != REFERENCE, one[0].names.index(one[1])))
    end, rows, left_out = time.monotonic() + 60 * options.minutes, [], []
    for number, (family, name) in enumerate(chosen):
        left = end - time.monotonic()
        if rows and left < 0:
            left_out.append(name)
            continue
        share = left / (len(chosen) - number) / len(SIDES)
        for side in SIDES:
            row = timed(name, side, FOR_ROUNDS * share, options.quick)
            rows.append({"family": family.name, "feature": family.feature, **row})
            print(_line(rows[-1], _reference(rows, side)), flush=True)
    return rows, left_out


def _results(rows: list[Row]) -> dict[str, Any]:
    compared = [{**row, "relative": round(row["both_ms"] / _reference(rows, row["side"]), 2)} for row in rows]
    return {
        "machine": describe(None),
        "device": _device_name(),
        "torch": version("torch"),
        "timm": version("timm"),
        "rows": compared,
    }


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.models",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--facts", action="store_true", help="write families.json, time nothing")
    parser.add_argument("--only", default="*", help="pattern of names; resnet18 is always there")
    parser.add_argument("--minutes", type=float, default=9.5, help="start no other network after these")
    parser.add_argument("--quick", action="store_true", help="one batch of two, for tests")
    parser.add_argument("--out", type=Path, default=RESULTS, help="JSON to write")
    parser.add_argument("--table", action="store_true", help="write the page from the JSON, time nothing")
    parser.add_argument("--docs", type=Path, default=PAGE, help="page to write into")
    return parser.parse_args(arguments)


def timed(name: str, side: int, seconds: float = SECONDS, quick: bool = False) -> Row:
    """Parameters and milliseconds of one network at one size."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    way = facts()[name].ways[str(side)]
    network = rebuild(name, Shape(1, side, 3), way).to(device)
    first = _seconds(_step(network, 2, side, device))
    batch, rounds = 2, 1
    if not quick:
        seconds = min(SECONDS, max(LEAST_SECONDS, seconds))
        affordable = int(seconds / ROUNDS / max(first / 2, 1e-6))
        batch = max(2, min(BATCH, 2 ** max(1, affordable.bit_length() - 1)))
        rounds = ROUNDS
    both = median(_seconds(_step(network, batch, side, device)) for _ in range(rounds))
    forward = median(_seconds(_look(network, batch, side, device)) for _ in range(rounds))
    return {
        "model": name,
        "side": side,
        "taken": way.short,
        "parameters": sum(one.numel() for one in network.parameters()),
        "batch": batch,
        "forward_ms": round(1000 * forward / batch, 3),
        "both_ms": round(1000 * both / batch, 3),
    }


def _step(network: nn.Module, batch: int, side: int, device: torch.device) -> Callable[[], None]:
    images = torch.randn(batch, 1, side, side, device=device)

    def step() -> None:
        network.train()
        network(images).square().sum().backward()
        network.zero_grad(set_to_none=True)

    return step


def _look(network: nn.Module, batch: int, side: int, device: torch.device) -> Callable[[], None]:
    images = torch.randn(batch, 1, side, side, device=device)

    def look() -> None:
        network.eval()
        with torch.no_grad():
            network(images)

    return look


def _seconds(work: Callable[[], None]) -> float:
    if torch.cuda.is_available():
        work()
        torch.cuda.synchronize()
    started = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


def _device_name() -> str:
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"CPU, {torch.get_num_threads()} threads"


def _reference(rows: list[Row], side: int) -> float:
    return next(row["both_ms"] for row in rows if row["model"] == REFERENCE and row["side"] == side)


def _line(row: Row, reference: float) -> str:
    return (
        f"{row['model']:26} {row['side']:4} {row['taken']:26} {row['parameters'] / 1e6:6.1f} M"
        f" {row['forward_ms']:9.2f} ms {row['both_ms']:9.2f} ms {row['both_ms'] / reference:6.2f}"
    )


def table(results: dict[str, Any]) -> str:
    """The table of the page."""
    lines = [
        f"{results['device']}, {results['machine']['processor']};"
        f" timm {results['timm']}, torch {results['torch']}.",
        "",
        "| family | model | million | side | taken | forward [ms] | and backward [ms] | of resnet18 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    missing = ", ".join(results["left_out"])
    end = ["", f"Left out for want of time: {missing}."] if missing else []
    return "\n".join([*lines, *map(_cells, results["rows"]), *end])


def _cells(row: Row) -> str:
    return (
        f"| {row['family']} | `{row['model']}` | {row['parameters'] / 1e6:.1f} | {row['side']}"
        f" | {row['taken']} | {row['forward_ms']:.2f} | {row['both_ms']:.2f} | {row['relative']:.2f} |"
    )


def write_into(page: Path, results: dict[str, Any]) -> None:
    """Put the table between the markers of a page."""
    text = page.read_text()
    if START not in text or END not in text:
        raise SystemExit(f"{page} must have the lines {START} and {END}")
    before, after = text.split(START)[0], text.split(END)[1]
    page.write_text(f"{before}{START}\n\n{table(results)}\n\n{END}{after}")


if __name__ == "__main__":
    main()
