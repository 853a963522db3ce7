"""How visible the replicas' substructure is, beside an earlier measurement with 50 systems a row.

    python -m benchmarks.detectability --out detectability.json --docs docs/detectability.md
    python -m benchmarks.detectability --from detectability.json --docs docs/detectability.md

`--docs` replaces what is between the two markers of that page. The chi-square test refits the smooth lens and
asks whether the residual is more than noise, so it has as many degrees of freedom as there are pixels.
`--check` fits the smooth lens of some systems by scipy's `least_squares`, which nothing here is part of.
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
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.stats import norm

from benchmarks.machine import describe
from flows.catalogue import load_recipe
from schemas.dataset import DatasetRecipe
from schemas.detectability import ideal_auc
from simulate.batch import LensBatch
from simulate.detectability import REFITS, detectability, noise_variance
from simulate.draw import Drawn, draw
from simulate.engines import ENGINES
from simulate.render import noise_free
from simulate.smooth_model import brightness_moves, moved, shape_moves, smooth_part

Array = NDArray[np.float64]
BEGIN, END = "<!-- detectability: begin -->", "<!-- detectability: end -->"
# the table was measured with one exposure of 566 s; the preset adds up four
ONE, FOUR = "Euclid, 1 x 566 s", "Euclid, 4 x 566 s"
ONE_EXPOSURE = "instrument.num_exposures=1"
RESAMPLED = 2000


@dataclass(frozen=True)
class Case:
    """A row of the table: one class of a shipped recipe, and what was measured before."""

    substructure: str
    depth: str
    recipe: str
    class_name: str
    overrides: tuple[str, ...] = ()
    median: float | None = None
    auc: float | None = None


def _euclid(substructure: str, class_name: str, override: str, median: float, auc: float) -> Iterator[Case]:
    overrides = (override,) if override else ()
    yield Case(substructure, ONE, "model_ii_noisy", class_name, (*overrides, ONE_EXPOSURE), median, auc)
    yield Case(substructure, FOUR, "model_ii_noisy", class_name, overrides)


HEAVIEST = "classes.cdm.substructure.mass_msun.high="
LINE = "classes.vortex.substructure.mass_msun="
CASES = (
    *_euclid("CDM, 1e6 to 1e10 (replica)", "cdm", "", 37, 0.990),
    *_euclid("CDM, 1e6 to 1e9", "cdm", HEAVIEST + "1e9", 4.2, 0.591),
    *_euclid("CDM, 1e6 to 1e8", "cdm", HEAVIEST + "1e8", 0.5, 0.501),
    *_euclid("vortex of 3e10 (replica)", "vortex", "", 21, 0.96),
    *_euclid("vortex of 1e10", "vortex", LINE + "1e10", 7.5, 0.70),
    *_euclid("vortex of 3e9", "vortex", LINE + "3e9", 2.4, 0.52),
    *_euclid("vortex of 1e9", "vortex", LINE + "1e9", 0.8, 0.50),
    Case("CDM, 1e6 to 1e10 (replica)", "HST, 5400 s", "model_iii_noisy", "cdm", (), 197, 1.0),
    Case("vortex of 3e10 (replica)", "HST, 5400 s", "model_iii_noisy", "vortex", (), 108, 1.0),
)


class Counter:
    """An engine that counts its images."""

    def __init__(self, engine: Any) -> None:
        self.engine = engine
        self.images = 0

    def __call__(self, systems: LensBatch, detector: Any) -> Any:
        self.images += systems.rows
        return self.engine(systems, detector)


def chi_square_auc(signal: Array, pixels: int, parameters: int) -> Array:
    """Of a test on the sum of squared residuals after a fit: chi-square without and with a signal.

    Both are normal to a good approximation, having thousands of degrees of freedom.
    """
    freedom = pixels - parameters
    return np.asarray(norm.cdf(signal**2 / np.sqrt(4 * freedom + 4 * signal**2)))


def measure(case: Case, systems: int, check: int) -> dict[str, Any]:
    """One row."""
    recipe = load_recipe(case.recipe, case.overrides)
    position = [one.name for one in recipe.classes].index(case.class_name)
    drawn = draw(recipe, np.arange(systems) * len(recipe.classes) + position)
    images = noise_free(recipe, drawn)
    rows = np.arange(systems)
    counter = Counter(ENGINES[recipe.engine])
    with patch.dict(ENGINES, {recipe.engine: counter}):
        started = time.process_time()
        signal = detectability(recipe, drawn, images, rows)
        seconds = time.process_time() - started
    smooth = smooth_part(recipe, drawn)
    parameters = len(shape_moves(smooth)) + len(brightness_moves(smooth))
    random = np.random.default_rng(0)
    fifties = np.median(random.choice(signal, (RESAMPLED, 50)), axis=1)
    return {
        "substructure": case.substructure,
        "depth": case.depth,
        "recipe": case.recipe,
        "overrides": case.overrides,
        "class": case.class_name,
        "systems": systems,
        "parameters": parameters,
        "median": float(np.median(signal)),
        "percentiles_16_84": np.percentile(signal, [16, 84]).tolist(),
        "median_linear": float(np.median(detectability(recipe, drawn, images, rows, refits=0))),
        "scatter_of_a_median_of_50": float(np.std(fifties)),
        "ideal_auc": float(ideal_auc(signal).mean()),
        "chi_square_auc": float(chi_square_auc(signal, images[0].size, parameters).mean()),
        "reference": {"median": case.median, "chi_square_auc": case.auc},
        # the image itself, which had to be made anyway, is the first
        "renders_per_system": 1 + counter.images / systems,
        "us_per_system": 1e6 * seconds / systems,
        "us_per_image": _pace(recipe, drawn),
        "fits": _fits(recipe, drawn, images, signal, min(check, systems)),
    }


def _pace(recipe: DatasetRecipe, drawn: Drawn) -> float:
    started = time.process_time()
    noise_free(recipe, drawn)
    return 1e6 * (time.process_time() - started) / len(drawn.sample_id)


def _fits(
    recipe: DatasetRecipe, drawn: Drawn, images: Array, signal: Array, count: int
) -> dict[str, float] | None:
    """Our signal over that of a full fit."""
    if not count:
        return None
    ratios = np.array([signal[row] / _fitted(recipe, drawn, images, row) for row in range(count)])
    return {
        "systems": count,
        "median_ratio": float(np.median(ratios)),
        "least_ratio": float(ratios.min()),
        "largest_ratio": float(ratios.max()),
    }


def _fitted(recipe: DatasetRecipe, drawn: Drawn, images: Array, row: int) -> float:
    one = np.array([row])
    smooth = smooth_part(recipe, drawn).subset(one)
    moves = (*shape_moves(smooth), *brightness_moves(smooth))
    deviates = np.sqrt(noise_variance(recipe, drawn, images, one))[0]

    def residual(steps: Array) -> Array:
        model = ENGINES[recipe.engine](moved(smooth, moves, steps[None]), recipe.detector)[0]
        return np.asarray(((images[row] - model) / deviates).ravel())

    best = least_squares(residual, np.zeros(len(moves)), x_scale=0.01, max_nfev=200)
    return float(np.sqrt(2 * best.cost))


def markdown(results: dict[str, Any]) -> str:
    """The table and the cost."""
    rows = results["rows"]
    beside = [row for row in rows if row["reference"]["median"]]
    ratios = [row["median"] / row["reference"]["median"] for row in beside]
    lines = [
        "| substructure | exposure | median S/N (16 to 84 %) | before | ratio"
        " | chi-square AUC | before | ideal AUC |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        low, high = row["percentiles_16_84"]
        before, auc = row["reference"]["median"], row["reference"]["chi_square_auc"]
        cells = (
            row["substructure"],
            row["depth"],
            f"**{row['median']:.3g}** ({low:.3g} to {high:.3g})",
            f"{before:g}" if before else "",
            f"{row['median'] / before:.2f}" if before else "",
            f"{row['chi_square_auc']:.3f}",
            f"{auc:g}" if before else "",
            f"{row['ideal_auc']:.3f}",
        )
        lines.append("| " + " | ".join(cells) + " |")
    machine = results["machine"]
    renders = max(row["renders_per_system"] for row in rows)
    cost = float(np.median([row["us_per_system"] for row in rows]))
    image = float(np.median([row["us_per_image"] for row in rows]))
    return "\n".join(
        [
            *lines,
            "",
            f"{rows[0]['systems']} systems a row; medians {min(ratios, default=0):.2f} to"
            f" {max(ratios, default=0):.2f} times those measured before. At most {renders:.1f} renders a"
            f" sample, {cost:,.0f} µs beside {image:,.0f} µs for the noise-free image, on one core of"
            f" {machine['processor']}; commit {machine['commit']}.",
            *_checked(rows),
        ]
    )


def _checked(rows: list[dict[str, Any]]) -> Iterator[str]:
    fits = [row["fits"] for row in rows if row["fits"]]
    if fits:
        medians = [fit["median_ratio"] for fit in fits]
        least, most = min(fit["least_ratio"] for fit in fits), max(fit["largest_ratio"] for fit in fits)
        yield ""
        yield (
            f"Beside full fits of {fits[0]['systems']} systems a row: medians of the ratio"
            f" {min(medians):.3f} to {max(medians):.3f}, single systems {least:.2f} to {most:.2f}."
        )


def write_between(page: Path, text: str) -> None:
    """Put a text between the page's markers."""
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{page} lacks the markers {BEGIN} and {END}")
    page.write_text(f"{before}{begin}\n{text}\n{end}{after}")


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.detectability",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--systems", type=int, default=500, help="per row; 500 by default")
    add("--check", type=int, default=20, metavar="N", help="systems a row to fit in full; 20 by default")
    add("--only", metavar="TEXT", default="", help="rows whose substructure or depth has this in it")
    add("--from", dest="results", type=Path, metavar="JSON", help="measure nothing, show these results")
    add("--out", type=Path, metavar="JSON", help="write the results there")
    add("--docs", type=Path, metavar="PAGE", help="write the table between the markers of this page")
    return parser.parse_args(arguments)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure what was asked for, telling each row as it is done."""
    chosen = [case for case in CASES if options.only in f"{case.substructure}, {case.depth}"]
    if not chosen:
        raise SystemExit(f"no row has {options.only!r} in its name")
    measure(chosen[0], 2, 0)  # compiles
    results: dict[str, Any] = {"machine": describe(None), "refits": REFITS, "rows": []}
    for case in chosen:
        row = measure(case, options.systems, options.check)
        results["rows"].append(row)
        print(f"{case.substructure}, {case.depth}: {row['median']:.3g}", file=sys.stderr, flush=True)
    return results


def main() -> None:
    """Measure or load, then print and write."""
    options = parse()
    results = json.loads(options.results.read_text()) if options.results else run(options)
    if options.out:
        options.out.write_text(json.dumps(results, indent=2) + "\n")
    table = markdown(results)
    if options.docs:
        write_between(options.docs, table)
    print(table)


if __name__ == "__main__":
    main()
