"""Every shipped experiment that expects something, trained and measured as a user would, in a table.

    python -m benchmarks.acceptance                                   # all of them, seed 1: about an hour
    python -m benchmarks.acceptance classify_model_ii --seeds 1 2 3
    python -m benchmarks.acceptance --table                           # writes the last results into the page

Data are simulated, models trained and measured by the command `lensmill`, each in a process of its own. CPU
minutes are user and system time of the training's process tree; simulation and evaluation are apart. What is
in `--folder` already is not made again, so a series that was stopped goes on.
"""

import sys
from pathlib import Path

# run by its path, this folder's `simulate` would hide the package of that name
if Path(sys.path[0]).resolve() == Path(__file__).resolve().parent:
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse
import json
import resource
import subprocess
import time
from collections.abc import Sequence
from statistics import mean, stdev
from typing import Any

from benchmarks.errors import write_into
from benchmarks.machine import describe
from flows.catalogue import load_experiment, shipped
from schemas.expectation import Expectation
from schemas.experiment import ExperimentRecipe
from schemas.frozen import sha256_of
from schemas.report import Report, Verdict

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "acceptance.json"
PAGE = ROOT / "docs" / "acceptance.md"
START, END = "<!-- acceptance: begin -->", "<!-- acceptance: end -->"
HEAD = ("experiment", "expected", "score, 95%", "principal components", "CPU min", "allowed", "")
Row = dict[str, Any]


def main(arguments: list[str] | None = None) -> None:
    """Run the experiments and write their table."""
    options = parse(arguments)
    if not options.table:
        kept = json.loads(options.out.read_text()) if options.out.is_file() else {}
        rows = {(row["experiment"], row["seed"]): row for row in kept.get("rows", [])}
        for name in options.experiments or expecting():
            for seed in options.seeds:
                row = accepted(load_experiment(name), seed, options.folder, options.set)
                rows[name, seed] = row
                print(_line(row), flush=True)
        ordered = [rows[key] for key in sorted(rows)]
        found = {"machine": describe(None), "rows": ordered}
        options.out.write_text(json.dumps(found, indent=2) + "\n")
    if options.docs.is_file():
        rows_of = json.loads(options.out.read_text())["rows"]
        write_into(options.docs, markdown(rows_of), START, END)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """What is asked for on the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("experiments", nargs="*", metavar="EXPERIMENT", help="all that expect something")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1], help="of weights and order of samples")
    parser.add_argument("--folder", type=Path, default=Path("acceptance"), help="where stores and runs go")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of the experiment")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--docs", type=Path, default=PAGE)
    parser.add_argument("--table", action="store_true", help="only write the table of what --out holds")
    options = parser.parse_args(arguments)
    unknown = set(options.experiments) - set(expecting())
    if unknown:
        parser.error(f"{', '.join(sorted(unknown))}: expect nothing; these do: {', '.join(expecting())}")
    return options


def expecting() -> list[str]:
    """The shipped experiments that say what they reach."""
    return [name for name in shipped("experiment") if load_experiment(name).expectation is not None]


def accepted(experiment: ExperimentRecipe, seed: int, folder: Path, changes: Sequence[str]) -> Row:
    """One experiment with one seed: simulated, trained, measured, unless it is there."""
    expected = experiment.expectation
    assert expected is not None
    store = folder / f"{expected.data}-{sha256_of(' '.join(expected.overrides))[:8]}.zarr"
    # refuses a store of another recipe, and keeps a finished one
    _lensmill("simulate", expected.data, "--out", str(store), "--quiet", *_set(expected.overrides))
    run = folder / "runs" / f"{experiment.name}-{seed}"
    cost = run.with_suffix(".json")
    if not cost.is_file():
        told = _set([f"seed={seed}", *changes])
        what = ("train", experiment.name, "--data", str(store), "--out", str(run), "--quiet", *told)
        cost.parent.mkdir(parents=True, exist_ok=True)
        cost.write_text(json.dumps(_timed(*what)))
    said = _lensmill("evaluate", str(run), "--data", str(store), "--json")
    report = Report.model_validate_json(said)
    return _row(experiment, seed, report, json.loads(cost.read_text()))


def _row(experiment: ExperimentRecipe, seed: int, report: Report, cost: dict[str, float]) -> Row:
    expected, verdict = experiment.expectation, report.verdict
    assert expected is not None
    (score,) = (one for one in report.scores if one.name == expected.score)
    beside = [
        one.value.model_dump()
        for baseline in report.baselines
        if baseline.kind == "components"
        for one in baseline.scores
        if one.name == expected.score
    ]
    return {
        "experiment": experiment.name,
        "data": expected.data,
        "seed": seed,
        "expected": str(expected),
        "met": _met(expected, verdict, cost["cpu_minutes"]),
        "score": score.value.model_dump(),
        "components": beside[0] if beside else None,
        "samples": report.samples,
        "parameters": report.parameters,
        "cpu_minutes_allowed": expected.cpu_minutes,
        "device": report.device,
        **cost,
    }


def _met(expected: Expectation, verdict: Verdict | None, minutes: float) -> bool:
    in_time = expected.cpu_minutes is None or minutes <= expected.cpu_minutes
    return verdict is not None and verdict.met and in_time


def _set(overrides: Sequence[str]) -> list[str]:
    return [word for one in overrides for word in ("--set", one)]


def _timed(*words: str) -> dict[str, float]:
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    _lensmill(*words)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"cpu_minutes": seconds / 60, "wall_minutes": (time.perf_counter() - started) / 60}


def _lensmill(*words: str) -> str:
    command = [sys.executable, "-m", "flows.cli", *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"lensmill {' '.join(words)} ended with exit code {done.returncode}")
    return done.stdout


def markdown(rows: Sequence[Row]) -> str:
    """A line for each experiment and seed, and the spread over seeds."""
    lines = ["| " + " | ".join(HEAD) + " |", "|---" * len(HEAD) + "|"]
    for name in sorted({row["experiment"] for row in rows}):
        mine = [row for row in rows if row["experiment"] == name]
        lines += [_cells(row, len(mine) > 1) for row in mine]
        if len(mine) > 1:
            lines.append(_spread(mine))
    return "\n".join(lines)


def _cells(row: Row, seeds: bool) -> str:
    name = f"`{row['experiment']}`" + (f", seed {row['seed']}" if seeds else "")
    beside = _interval(row["components"]) if row["components"] else ""
    allowed = "" if row["cpu_minutes_allowed"] is None else f"{row['cpu_minutes_allowed']:g}"
    cells = (name, row["expected"], _interval(row["score"]), beside, f"{row['cpu_minutes']:.1f}", allowed)
    return "| " + " | ".join((*cells, "met" if row["met"] else "**not met**")) + " |"


def _spread(rows: Sequence[Row]) -> str:
    values = [row["score"]["value"] for row in rows]
    minutes = mean(row["cpu_minutes"] for row in rows)
    told = f"**{mean(values):.4f} ± {stdev(values):.4f}**"
    cells = (f"`{rows[0]['experiment']}`, mean and spread", "", told, "", f"{minutes:.1f}", "", "")
    return "| " + " | ".join(cells) + " |"


def _interval(one: dict[str, float]) -> str:
    return f"{one['value']:.4f} [{one['low']:.4f}, {one['high']:.4f}]"


def _line(row: Row) -> str:
    return (
        f"{row['experiment']} seed {row['seed']}: {_interval(row['score'])}, expected {row['expected']},"
        f" {row['cpu_minutes']:.1f} CPU minutes: {'met' if row['met'] else 'NOT met'}"
    )


if __name__ == "__main__":
    main()
