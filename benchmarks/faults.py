"""Faults, run for real: what was done to a store, how often, and what came of it.

    python -m benchmarks.faults
    python -m benchmarks.faults --only "flow: *"

Processes are killed, disks filled and files damaged. Outcomes go into docs/faults.json and as a table into
docs/faults.md, between its markers; with --only, those of what was tried are renewed. The command fails if
anything did not come out as it must. Disks are small ones in memory, which only root may mount.
"""

import sys
from pathlib import Path

# run by its path, this folder's `simulate` would hide the package of that name
if Path(sys.path[0]).resolve() == Path(__file__).resolve().parent:
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse
import json
import random
import tempfile
import traceback
import warnings
from collections.abc import Callable
from dataclasses import asdict
from fnmatch import fnmatch
from functools import partial
from typing import Any

from benchmarks import (
    fault_bytes,
    fault_disks,
    fault_flows,
    fault_processes,
    fault_schedules,
    fault_service,
)
from benchmarks.errors import write_into
from benchmarks.fault_stores import Outcome, Workplace
from benchmarks.machine import describe

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "faults.md"
OUTCOMES = ROOT / "docs" / "faults.json"
START, END = "<!-- faults: begin -->", "<!-- faults: end -->"
FLOWS_START, FLOWS_END = "<!-- faults of flows: begin -->", "<!-- faults of flows: end -->"
SEED = 6

Trial = Callable[[Workplace, int, random.Random], list[Outcome]]
# what is tried, and how often
SERIES: dict[str, tuple[Trial, int]] = {
    "writer": (fault_processes.killed_writers, 25),
    "worker": (fault_processes.killed_workers, 4),
    "driver": (fault_processes.killed_drivers, 4),
    "flow": (fault_processes.killed_flows, 4),
    "repair": (fault_processes.killed_repairs, 3),
    "disk": (fault_disks.full_disks, 10),
    "disk of a flow": (fault_disks.full_disks_of_flows, 4),
    "bits": (fault_bytes.flipped_bits, 40),
    "files": (fault_bytes.damaged_files, 8),
    "swapped": (fault_bytes.swapped_shards, 8),
    "books": (fault_bytes.altered_books, len(fault_bytes.ALTERED)),
    "both": (fault_processes.two_at_once, 2),
    "other": (fault_processes.other_stores, 4),
    "flow: poison": (fault_flows.poisoned_workers, 2),
    "flow: error": (fault_flows.failing_shards, 2),
    "flow: server": (fault_flows.killed_servers, 2),
    "flow: server named": (fault_flows.restarted_servers, 2),
    "flow: scheduler": (fault_flows.lost_schedulers, 2),
    "flow: full state": (fault_flows.full_state_folders, 2),
    "flow: state fills": (fault_flows.filled_state_folders, 2),
    "flow: run killed": (partial(fault_service.on_a_service, fault_service.KILLED), 2),
    "flow: run cancelled": (partial(fault_service.on_a_service, fault_service.CANCELLED), 2),
    "flow: service server": (partial(fault_service.on_a_service, fault_service.SERVER), 2),
    "flow: server long away": (partial(fault_service.on_a_service, fault_service.AWAY), 1),
    "flow: machine dies": (partial(fault_service.on_a_service, fault_service.DIED), 2),
    "flow: two runs": (partial(fault_service.on_a_service, fault_service.TWO), 2),
    "flow: due while down": (partial(fault_service.on_a_service, fault_schedules.DOWN), 2),
    "flow: due without server": (partial(fault_service.on_a_service, fault_schedules.SERVERLESS), 2),
}
# these have a table of their own
OF_FLOWS = "flow: *"


def markdown(rows: list[Outcome]) -> str:
    """The table of the page."""
    lines = ["| event | tries | as it must be | outcome |", "|---|---|---|---|"]
    lines += [
        f"| {row.event} | {row.tries} | {row.held}{'' if row.sound else ' **not all**'} | {row.outcome} |"
        for row in rows
    ]
    return "\n".join(lines)


def rows_of(results: dict[str, Any], of_flows: bool | None = None) -> list[Outcome]:
    """All outcomes of a file of results, in the order of the series; those of one table only if asked for."""
    series = results["series"]
    names = [name for name in SERIES if name in series and of_flows in (None, fnmatch(name, OF_FLOWS))]
    return [Outcome(**row) for name in names for row in series[name]["outcomes"]]


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.faults",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--out", type=Path, default=OUTCOMES, metavar="JSON", help="file of outcomes; docs/faults.json")
    add("--docs", type=Path, default=PAGE, metavar="PAGE", help="page with the table; docs/faults.md")
    add("--only", nargs="+", metavar="GLOB", help=f"of {', '.join(SERIES)}")
    add("--tries", type=int, metavar="N", help="tries of each, for a first look")
    add("--scratch", type=Path, metavar="FOLDER", help="where stores are made; a temporary folder by default")
    return parser.parse_args(arguments)


def run(
    place: Workplace, only: list[str] | None, tries: int | None, keep: Callable[[dict[str, Any]], None]
) -> list[str]:
    """Try all that was asked for, outcomes told and kept as they come; what did not come out as it must."""
    broken = []
    names = [name for name in SERIES if not only or any(fnmatch(name, pattern) for pattern in only)]
    if not names:
        raise SystemExit(f"nothing matches {only}; there are {', '.join(SERIES)}")
    for name in names:
        trial, usual = SERIES[name]
        try:
            rows = trial(place, tries or usual, random.Random(SEED))  # noqa: S311
        except Exception as error:
            traceback.print_exc()
            broken.append(f"{name}: {type(error).__name__}: {error}")
            continue
        print("\n".join(markdown(rows).splitlines()[2:]), file=sys.stderr, flush=True)
        broken += [f"{row.event}: {row.held} of {row.tries}" for row in rows if not row.sound]
        keep({name: {"machine": describe(None), "outcomes": [asdict(row) for row in rows]}})
    return broken


def write(tried: dict[str, Any], out: Path, docs: Path) -> None:
    """Outcomes into their file, beside those that are there, and all of them into the page."""
    before = json.loads(out.read_text())["series"] if out.is_file() else {}
    results = {"series": before | tried}
    out.write_text(json.dumps(results, indent=2) + "\n")
    write_into(docs, markdown(rows_of(results, of_flows=False)), START, END)
    if flows := rows_of(results, of_flows=True):
        write_into(docs, markdown(flows), FLOWS_START, FLOWS_END)


def main(arguments: list[str] | None = None) -> None:
    """Try, write, and fail if anything did not hold."""
    options = parse(arguments)
    keep = partial(write, out=options.out, docs=options.docs)
    with tempfile.TemporaryDirectory(dir=options.scratch) as folder, warnings.catch_warnings():
        # recipes say that a vortex may be longer than the field
        warnings.simplefilter("ignore", UserWarning)
        broken = run(Workplace(Path(folder)), options.only, options.tries, keep)
    if broken:
        raise SystemExit("not as it must be:\n" + "\n".join(broken))


if __name__ == "__main__":
    main()
