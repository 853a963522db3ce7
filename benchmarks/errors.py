"""How far the compiled engines' images are from lenstronomy's, in parts of each image's peak.

    python -m benchmarks.errors --systems 200 --out errors.json

Every class of every shipped recipe and some richer cases, before noise. The table goes into docs/accuracy.md,
between its markers; the command fails if an engine breaks a limit stated there.
"""

import sys
from pathlib import Path

# run by its path, this folder's `simulate` would hide the package of that name
if Path(sys.path[0]).resolve() == Path(__file__).resolve().parent:
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse
import json
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import describe
from flows.catalogue import complete, load_recipe
from schemas.dataset import DatasetRecipe
from simulate.batch import LensBatch
from simulate.draw import draw
from simulate.engines import ENGINES

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "accuracy.md"
START, END = "<!-- errors: begin -->", "<!-- errors: end -->"
FUSED = ("fused", "fused_exact", "fused_float32")
# systems rendered at a time
TOGETHER = 50
# a case of large images has fewer systems: lenstronomy takes a minute for 10^6 rays past a hundred halos
MOST_RAYS = 4_600_000
MOST_RAYS_PAST_HALOS = 1_000_000
STEEP_INDEX = 4.0
# what is promised: for sources up to STEEP_INDEX, for steeper ones, and where there are truncated halos
LIMITS = {
    "fused": {"usual": 1e-12, "steep": 1e-10, "halos": 1e-6},
    "fused_exact": {"usual": 1e-12, "steep": 1e-10, "halos": 1e-10},
    "fused_float32": {"usual": 5e-6, "steep": 5e-5, "halos": 5e-6},
}

_HALOS = (
    "classes.cdm.substructure={kind: subhalos, count: %s, mass_msun: {kind: power_law, slope: -1.9, low: 1e7,"
    " high: 1e10}, radius_arcsec: {kind: uniform, low: 0.2, high: 2}, profile: {kind: TNFW, concentration:"
    " {kind: log_uniform, low: 5, high: 30}, truncation: {kind: log_uniform, low: 1, high: 30}}}"
)
_CORES = (
    "classes.cdm.substructure={kind: self_interacting, f_sub: 0.02, cross_section_cm2_g: {kind: log_uniform,"
    " low: 0.1, high: 30}, profile: {kind: TNFW, truncation: {kind: log_uniform, low: 0.5, high: 30}}}"
)
_MASSIVE = "main_lens.theta_E={kind: uniform, low: 0.9, high: 1.2}"
_EPL = (
    "main_lens={kind: EPL, theta_E: {kind: uniform, low: 0.7, high: 1.05}, gamma: {kind: uniform, low: 1.5,"
    " high: 2.5}, e1: {kind: uniform, low: -0.3, high: 0.3}, e2: {kind: uniform, low: -0.3, high: 0.3}}"
)
_FLAT = (
    "main_lens={kind: SIE, theta_E: {kind: uniform, low: 0.7, high: 1.05}, e1: {kind: uniform, low: -0.6,"
    " high: 0.6}, e2: {kind: uniform, low: -0.6, high: 0.6}}"
)
_SOURCE = (
    "source={magnitude: 20, R_sersic: {kind: log_uniform, low: 0.15, high: 0.4}, n_sersic: {kind: uniform,"
    " low: %s, high: %s}, e1: {kind: uniform, low: -0.3, high: 0.3}, center_x: {kind: uniform, low: -0.3,"
    " high: 0.3}, center_y: {kind: uniform, low: -0.3, high: 0.3}}"
)
_LIGHT = (
    "lens_light={magnitude: {kind: uniform, low: 18, high: 20}, R_sersic: {kind: uniform, low: 0.3, high: 1},"
    " n_sersic: {kind: uniform, low: 1, high: 4}, e1: 0.1, center_x: 0.012, center_y: -0.017}"
)
_PSF = (
    "instrument={kind: detector, num_pix: 32, pixel_scale_arcsec: 0.101, supersampling: %s,"
    " psf: {kind: kernel, values: %s, sampling: %s}}"
)
_THREE = "instrument.supersampling=3"


def _kernel(side: int, width: float) -> list[list[float]]:
    """A star of power-law wings (Moffat 1969), a little off centre."""
    x, y = np.meshgrid(*[np.arange(side) - side // 2] * 2)
    values = (1 + ((x - 0.2) ** 2 + (y + 0.1) ** 2) / width**2) ** -3.0
    return [[float(value) for value in row] for row in values / values.sum()]


# on top of `tiny`: title, class, overrides
RICH: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("power law, slope 1.5 to 2.5", "no_sub", (_EPL,)),
    ("flat isothermal lens, e up to 0.85", "no_sub", (_FLAT,)),
    ("light of the lens", "cdm", (_LIGHT,)),
    ("source n 0.3 to 1", "cdm", (_SOURCE % (0.3, 1),)),
    ("source n 1 to 4", "cdm", (_SOURCE % (1, 4),)),
    ("source n 4 to 8", "cdm", (_SOURCE % (4, 8),)),
    ("300 point masses", "cdm", ("classes.cdm.substructure.count=300",)),
    ("10 truncated halos", "cdm", (_HALOS % 10,)),
    ("100 truncated halos", "cdm", (_HALOS % 100,)),
    ("100 truncated halos with cores", "cdm", (_CORES, _MASSIVE)),
    ("continuous line", "vortex", ("classes.vortex.substructure.points=continuous",)),
    ("line of 500 points", "vortex", ("classes.vortex.substructure.points=500",)),
    ("supersampling 3", "cdm", (_THREE,)),
    ("PSF kernel 11 x 11", "cdm", (_PSF % (1, _kernel(11, 1.5), 1),)),
    ("PSF kernel 31 x 31 of sub-pixels, supersampling 3", "cdm", (_PSF % (3, _kernel(31, 3.5), 3),)),
    ("all of them, source n 1 to 4", "cdm", (_EPL, _LIGHT, _SOURCE % (1, 4), _HALOS % 30, _THREE)),
)


@dataclass(frozen=True)
class Row:
    """One line of the table: errors of each engine, and those that break their limit."""

    case: str
    systems: int
    largest: dict[str, float]
    median: dict[str, float]
    limit: dict[str, float]

    @property
    def broken(self) -> list[str]:
        """Engines that are further off than they may be."""
        return [engine for engine in FUSED if not self.largest[engine] <= self.limit[engine]]


def cases() -> Iterator[tuple[str, DatasetRecipe, int]]:
    """Title, recipe and position of the class."""
    for name in complete():
        recipe = load_recipe(name)
        for position, one in enumerate(recipe.classes):
            yield f"{name}, {one.name}", recipe, position
    for title, wanted, overrides in RICH:
        recipe = load_recipe("tiny", overrides)
        yield title, recipe, [one.name for one in recipe.classes].index(wanted)


def measure(title: str, recipe: DatasetRecipe, position: int, systems: int) -> Row:
    """One case: the class's first systems by all engines."""
    found: dict[str, list[NDArray[np.float64]]] = {engine: [] for engine in FUSED}
    systems = min(systems, _affordable(recipe, position))
    ids = position + len(recipe.classes) * np.arange(systems)
    kinds = set()
    for start in range(0, systems, TOGETHER):
        batch = draw(recipe, ids[start : start + TOGETHER]).systems
        kinds.add(_kind(batch))
        reference = ENGINES["lenstronomy"](batch, recipe.detector)
        peak = reference.max(axis=(1, 2))
        for engine in FUSED:
            images = ENGINES[engine](batch, recipe.detector)
            found[engine].append(np.abs(images - reference).max(axis=(1, 2)) / peak)
    errors = {engine: np.concatenate(parts) for engine, parts in found.items()}
    return Row(
        case=title,
        systems=systems,
        largest={engine: float(values.max()) for engine, values in errors.items()},
        median={engine: float(np.median(values)) for engine, values in errors.items()},
        limit={engine: max(LIMITS[engine][kind] for kind in kinds) for engine in FUSED},
    )


def _affordable(recipe: DatasetRecipe, position: int) -> int:
    """How many systems lenstronomy renders in reasonable time."""
    rays = (recipe.detector.num_pix * recipe.detector.supersampling) ** 2
    profiles = {group.profile for group in draw(recipe, np.array([position])).systems.deflectors}
    most = MOST_RAYS_PAST_HALOS if profiles & {"TNFW", "TNFWC"} else MOST_RAYS
    return max(2, most // rays)


def _kind(systems: LensBatch) -> str:
    if any(group.profile in ("TNFW", "TNFWC") for group in systems.deflectors):
        return "halos"
    light = [group.parameters["n_sersic"].max() for group in (*systems.source, *systems.lens_light)]
    return "steep" if max(light) > STEEP_INDEX else "usual"


def markdown(rows: list[Row]) -> str:
    """The table of the page."""
    lines = [f"| case | systems | {' | '.join(f'`{engine}`' for engine in FUSED)} |", "|---|---|---|---|---|"]
    for row in rows:
        cells = [
            f"{row.largest[engine]:.1e} ({row.median[engine]:.1e})"
            + (" above its limit" if engine in row.broken else "")
            for engine in FUSED
        ]
        lines.append(f"| {row.case} | {row.systems} | {' | '.join(cells)} |")
    return "\n".join(lines)


def write_into(page: Path, table: str, start: str = START, end: str = END) -> None:
    """A new table between the page's markers."""
    text = page.read_text()
    if text.count(start) != 1 or text.count(end) != 1:
        raise SystemExit(f"{page} must have the lines {start!r} and {end!r} once each")
    before, _, rest = text.partition(start)
    _, _, after = rest.partition(end)
    page.write_text(f"{before}{start}\n\n{table}\n\n{end}{after}")


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.errors",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--systems",
        type=int,
        default=200,
        metavar="N",
        help="systems of each case, fewer of large images; 200 by default",
    )
    add(
        "--only",
        nargs="+",
        metavar="GLOB",
        help="cases, as 'model_ii,*'; without --docs the page stays as it is",
    )
    add("--out", type=Path, metavar="JSON", help="write the numbers there")
    add("--docs", type=Path, metavar="PAGE", help="page to write the table into; docs/accuracy.md by default")
    options = parser.parse_args(arguments)
    if options.systems < 1:
        parser.error(f"--systems is {options.systems}, but must be at least 1")
    return options


def run(options: argparse.Namespace) -> list[Row]:
    """Measure what was asked for, telling each case as it is done."""
    rows = []
    for title, recipe, position in cases():
        if options.only and not any(fnmatch(title, pattern) for pattern in options.only):
            continue
        rows.append(measure(title, recipe, position, options.systems))
        print(markdown(rows[-1:]).splitlines()[-1], file=sys.stderr, flush=True)
    if not rows:
        raise SystemExit(f"no case matches {options.only}; they are {[title for title, _, _ in cases()]}")
    return rows


def main(arguments: list[str] | None = None) -> None:
    """Measure, write, and fail if a limit is broken."""
    options = parse(arguments)
    with warnings.catch_warnings():
        # recipes say that a vortex may be longer than the field; here that is what they are for
        warnings.simplefilter("ignore", UserWarning)
        rows = run(options)
    if options.out:
        results: dict[str, Any] = {"machine": describe(None), "cases": [asdict(row) for row in rows]}
        options.out.write_text(json.dumps(results, indent=2) + "\n")
    if options.docs or not options.only:
        write_into(options.docs or PAGE, markdown(rows))
    else:
        print(markdown(rows))
    broken = [f"{row.case}: {', '.join(row.broken)}" for row in rows if row.broken]
    if broken:
        raise SystemExit("limits are broken:\n" + "\n".join(broken))


if __name__ == "__main__":
    main()
