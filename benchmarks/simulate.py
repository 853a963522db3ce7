"""How fast the simulator is beside lenstronomy: one core, one run, all contestants in turn.

    python -m benchmarks.simulate --only 'model_ii/*' --out rates.json --markdown
    python -m benchmarks.simulate --from rates.json --chart docs/pictures/rates.png

lenstronomy's objects are built once and its systems are drawn beforehand; ours is all of `render`, from
sample numbers to float32 images. Both add one normal deviate per pixel (`normal`), nothing (`none`) or the
recipe's own noise (`own`); `written` saves the images of `normal` too. Before anything is timed, both are
checked to make the same noise-free images.
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
import contextlib
import json
import tempfile
from typing import Any

from benchmarks import contestants, report
from benchmarks.cases import Case, cases, check_engines, engines_for
from benchmarks.chart import draw_chart
from benchmarks.contestants import Outside
from benchmarks.machine import describe
from benchmarks.rounds import Contestant, compete, ratio, use_one_core
from simulate.engines import ENGINES

LEAST_ROUNDS = 7


def measure(case: Case, outside: Outside | None, options: argparse.Namespace) -> dict[str, Any]:
    """One case: all contestants in turn, and what comes of it."""
    engines = engines_for(case, options.engines)
    deviations = {engine: contestants.deviation(case, engine) for engine in engines}
    with tempfile.TemporaryDirectory(dir=options.scratch) as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        baselines = contestants.lenstronomys(case, folder)
        ours = [contestants.whole(case, engine, folder) for engine in engines]
        floor = contestants.floor(case.recipe.detector.num_pix)
        others: list[Contestant] = []
        if case.noise == "normal" and not case.written:
            fast = [engine for engine in engines if engine != "lenstronomy"]
            others += [step for engine in fast for step in contestants.steps(case, engine)]
            if outside and case.group in ("model_i", "model_ii"):
                others += contestants.published(case, outside, stack)
        compete([*baselines, *ours, floor, *others], options.rounds, options.seconds)
    everyone = [*baselines, *ours, floor, *others]
    return {
        "case": case.key,
        "group": case.group,
        "class": case.class_name,
        "noise": "written" if case.written else case.noise,
        "num_pix": case.recipe.detector.num_pix,
        "deviation_of_peak": deviations,
        "aims": {engine: aim for engine in engines if (aim := case.aim(engine))},
        "contestants": {one.name: _numbers(one, baselines[0], floor) for one in everyone},
    }


def _numbers(one: Contestant, baseline: Contestant, floor: Contestant) -> dict[str, Any]:
    return {
        "us_per_image": one.median,
        "each_us": [round(value, 2) for value in one.us_per_image],
        "images_per_round": one.images,
        "times_lenstronomy": ratio(baseline, one),
        "times_floor": one.median / floor.median,
        "least_cpu_share": min(one.cpu_share),
    }


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.simulate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--only", nargs="+", metavar="GLOB", help="cases, as model_ii/cdm/normal; default all of them")
    add("--engines", nargs="+", metavar="NAME", help=f"default all there are: {', '.join(sorted(ENGINES))}")
    add("--rounds", type=int, default=9, help=f"at least {LEAST_ROUNDS}; 9 by default")
    add("--seconds", type=float, default=0.2, help="what one timing should take; 0.2 by default")
    add("--core", type=int, help="the core to use; by default the last one allowed")
    add("--scratch", type=Path, help="where `written` writes; by default the system's temporary folder")
    add("--quick", action="store_true", help="two short rounds of model_ii/cdm: a smoke test, no result")
    add("--published", metavar="PATH", help="import path of DeepLenseSim and pyHalo, parted by colons")
    add(
        "--published-python",
        type=Path,
        default=Path(sys.executable),
        help="the interpreter that has the rest",
    )
    add("--from", dest="results", type=Path, metavar="JSON", help="measure nothing, show these results")
    add("--out", type=Path, metavar="JSON", help="write the results there")
    add("--chart", type=Path, metavar="PNG", help="draw a bar chart")
    add("--markdown", action="store_true", help="print tables for the documentation")
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds, options.seconds = 2, 0.01
        options.only = options.only or ["model_ii/cdm/*"]
    elif options.rounds < LEAST_ROUNDS:
        parser.error(f"{options.rounds} rounds are no median; give at least {LEAST_ROUNDS}, or --quick")
    return options


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure what was asked for, telling each case as it is done."""
    check_engines(options.engines or [])
    chosen = list(cases(options.only or ["*"]))
    if not chosen:
        raise SystemExit(f"no case matches {options.only}; they are {[one.key for one in cases(['*'])]}")
    outside = Outside(options.published_python, options.published) if options.published else None
    core = use_one_core(options.core)
    results: dict[str, Any] = {
        "machine": describe(core),
        "settings": {"rounds": options.rounds, "seconds": options.seconds, "quick": options.quick},
        "cases": [],
    }
    for case in chosen:
        results["cases"].append(measure(case, outside, options))
        print(report.line(results["cases"][-1]), file=sys.stderr, flush=True)
    results["machine"]["load_after"] = os.getloadavg()
    return results


def main() -> None:
    """Measure or load, then print, draw and write."""
    options = parse()
    results = json.loads(options.results.read_text()) if options.results else run(options)
    if options.out:
        options.out.write_text(json.dumps(results, indent=2) + "\n")
    if options.chart:
        draw_chart(results, options.chart)
    if options.markdown:
        print(report.markdown(results))
    elif not options.out and not options.chart:
        print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
