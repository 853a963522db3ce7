"""How fast stores are read and written, beside memory and beside other forms of the same images.

    python -m benchmarks.storage --out benchmarks/results/storage.json --docs docs/reading.md
    python -m benchmarks.storage --quick

One process, one thread that asks for batches of 256 images; contestants take turns in every round, and a
ratio is that of the medians. The yardstick is numpy's gather of random images from one array in memory into a
batch. The data are in the page cache, and larger than the processor's caches.
"""

# ruff: noqa: E402
import os
import sys
from pathlib import Path

for _library in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "NUMBA"):
    os.environ[f"{_library}_NUM_THREADS"] = "1"  # read when numpy is imported
# run by its path, this file would hide the package of its name
if Path(sys.path[0]).resolve() == Path(__file__).resolve().parent:
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse
import json
import tempfile
from typing import Any

from benchmarks.machine import describe
from benchmarks.rounds import Contestant
from benchmarks.storage_contestants import MISSING, contestants
from benchmarks.storage_data import make_forms

LEAST_ROUNDS = 5
START, END = "<!-- storage: begin -->", "<!-- storage: end -->"
# contestant, beside which one, what the ratio should reach; half of it is the floor
AIMS = (
    ("resident", "memory", 0.85),
    ("quantised, shards mixed", "memory", 0.45),
    ("float32, shards mixed", "memory", 0.25),
    ("float32, shards mixed, checked", "memory", 0.20),
    ("random batches", "npy memmap, random", 0.75),
    ("in order", "npy memmap, in order", 0.95),
    ("random batches", "zarr-python, random", 50),
    ("random batches", "one file per image, random", 20),
    ("written", "written by zarr-python", 0.7),
)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All contestants in turn, and what comes of it."""
    with tempfile.TemporaryDirectory(prefix="lensmill-storage-", dir=options.folder) as name:
        forms = make_forms(Path(name), options.images)
        everyone = contestants(forms)
        for one in everyone:
            one.run(one.images)
        for number in range(options.rounds):
            for one in everyone if number % 2 == 0 else reversed(everyone):
                one.measure()
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr, flush=True)
        gigabytes = forms.images.nbytes / 1e9
    return {
        "machine": describe(None) | {"load_after": os.getloadavg()},
        "settings": {"images": len(forms.images), "gigabytes": round(gigabytes, 3), "rounds": options.rounds},
        "missing": MISSING,
        "contestants": {one.name: _numbers(one, everyone[0]) for one in everyone},
        "aims": _aims({one.name: one for one in everyone}),
    }


def _numbers(one: Contestant, memory: Contestant) -> dict[str, Any]:
    return {
        "images_per_s": 1e6 / one.median,
        "of_memory": memory.median / one.median,
        "images_per_round": one.images,
        "each_us": [round(value, 3) for value in one.us_per_image],
    }


def _aims(named: dict[str, Contestant]) -> list[dict[str, Any]]:
    found = []
    for name, beside, aim in AIMS:
        ratio = named[beside].median / named[name].median
        verdict = "reached" if ratio >= aim else "floor" if ratio >= aim / 2 else "missed"
        found.append({"what": name, "beside": beside, "ratio": ratio, "aim": aim, "verdict": verdict})
    return found


def markdown(results: dict[str, Any]) -> str:
    """Two tables: rates, and aims."""
    machine, settings = results["machine"], results["settings"]
    lines = [
        f"{machine['processor']}, numpy {machine['versions']['numpy']}, commit {machine['commit']}:"
        f" {settings['images']:,} images of 64 x 64, {settings['gigabytes']:.2f} GB as float32, medians of"
        f" {settings['rounds']} rounds; load {machine['load_before'][0]:.1f} before and"
        f" {machine['load_after'][0]:.1f} after.",
        "",
        "| contestant | images per second | of memory |",
        "|---|---|---|",
    ]
    for name, one in results["contestants"].items():
        lines.append(f"| {name} | {one['images_per_s']:,.0f} | {one['of_memory']:.3g} |")
    lines += [f"| {name} | not installed | |" for name in results["missing"]]
    lines += ["", "| what | beside | ratio | aim | |", "|---|---|---|---|---|"]
    for one in results["aims"]:
        row = (one["what"], one["beside"], f"**{one['ratio']:.3g}**", f"{one['aim']:g}", one["verdict"])
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.storage",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--images", type=int, default=3 << 15, help="98,304 by default: 1.6 GB as float32")
    add("--rounds", type=int, default=9, help=f"at least {LEAST_ROUNDS}; 9 by default")
    add("--folder", type=Path, help="where the forms are written; by default the system's temporary folder")
    add("--quick", action="store_true", help="one round of few images: a smoke test, no result")
    add("--from", dest="results", type=Path, metavar="JSON", help="measure nothing, show these results")
    add("--out", type=Path, metavar="JSON", help="write the results there")
    add("--docs", type=Path, metavar="MD", help="write the tables into this page, between its markers")
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds, options.images = 1, min(options.images, 3 << 10)
    elif options.rounds < LEAST_ROUNDS:
        parser.error(f"{options.rounds} rounds are no median; give at least {LEAST_ROUNDS}, or --quick")
    return options


def write_into(page: Path, table: str) -> None:
    """Replace what stands between the markers of a page."""
    before, start, rest = page.read_text().partition(START)
    _, end, after = rest.partition(END)
    if not start or not end:
        raise SystemExit(f"{page} must have the lines {START} and {END}")
    page.write_text(f"{before}{START}\n\n{table}\n\n{END}{after}")


def main(arguments: list[str] | None = None) -> None:
    """Measure or load, then print and write."""
    options = parse(arguments)
    results = json.loads(options.results.read_text()) if options.results else measure(options)
    if options.out:
        options.out.write_text(json.dumps(results, indent=2) + "\n")
    if options.docs:
        write_into(options.docs, markdown(results))
    print(markdown(results))


if __name__ == "__main__":
    main()
