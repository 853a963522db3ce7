"""The table of audits in docs/audit.md: what tells the classes of each recipe apart.

    python -m benchmarks.audits --folder audits --docs docs/audit.md
    python -m benchmarks.audits euclid --folder audits --images 5600

Simulates a store of each recipe (without detectability, which no audit needs), audits it, and keeps
`audit.json` and `audit.png` beside it. What is there is not made again.
"""

import sys
from pathlib import Path

# run by its path, this folder's `simulate` would hide the package of that name
if Path(sys.path[0]).resolve() == Path(__file__).resolve().parent:
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse
from collections.abc import Sequence

from benchmarks.errors import write_into
from flows.auditing import TABLE, audit
from flows.simulating import generate
from schemas.audit import Audit, AuditRow

START, END = "<!-- audits: begin -->", "<!-- audits: end -->"
RECIPES = (
    "euclid",
    "hst",
    "jwst",
    "rubin",
    "dark_matter_zoo",
    "lens_finding",
    "model_i",
    "model_ii",
    "model_iii",
    "model_ii_noisy",
    "tiny",
)
# above 5,000, so that each class has as many after rounding to splits
IMAGES = 5600
# how columns of the table are headed, and which rows of an audit they are about
ABOUT = {
    "`theta_E`": lambda row: row.subject == "theta_E",
    "total flux": lambda row: row.kind == "flux",
    "worst column": lambda row: row.kind == "column",
    "all columns": lambda row: row.kind == "together",
    "image statistics": lambda row: row.kind == "image",
    "principal components": lambda row: row.kind == "baseline",
}


def audited(recipe: str, folder: Path, images: int) -> Audit:
    """The audit of a recipe, made where it is missing."""
    kept = folder / recipe / TABLE
    if not kept.is_file():
        store = folder / f"{recipe}.zarr"
        generate(recipe, store, overrides=[f"samples_per_class={images}", "detectability=null"], quiet=True)
        audit(store, kept.parent, quiet=True)
    return Audit.model_validate_json(kept.read_bytes())


def markdown(audits: Sequence[Audit]) -> str:
    """A line for each recipe: of each subject the pair of classes that it tells apart best."""
    lines = ["| recipe | a class | " + " | ".join(ABOUT) + " | verdict |", "|---" * (len(ABOUT) + 3) + "|"]
    for found in audits:
        cells = [_cell([row for row in found.rows if about(row)]) for about in ABOUT.values()]
        verdict = "passes" if found.passed else f"**fails**: {_short(found)}"
        fewest = min(found.samples.values())
        lines.append(f"| `{found.about.recipe}` | {fewest:,} | " + " | ".join(cells) + f" | {verdict} |")
    return "\n".join(lines)


def _cell(rows: Sequence[AuditRow]) -> str:
    if not rows:
        return "constant"
    worst = max((row.worst for row in rows), key=lambda one: one.distance - one.bound)
    star = "\\*" if worst.of == "distance" else ""
    return f"{worst.auc:.3f}{star} ± {(worst.high - worst.low) / 2:.3f}"


def _short(found: Audit) -> str:
    return ", ".join(leak.partition(" (")[0] for leak in found.leaks)


def main(arguments: Sequence[str] | None = None) -> None:
    """Audit, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipes", nargs="*", default=RECIPES)
    parser.add_argument("--folder", type=Path, required=True, help="where stores and audits are kept")
    parser.add_argument("--images", type=int, default=IMAGES, help="images of each class")
    parser.add_argument("--docs", type=Path, default=None, help="page to write the table into")
    options = parser.parse_args(arguments)
    options.folder.mkdir(parents=True, exist_ok=True)
    table = markdown([audited(recipe, options.folder, options.images) for recipe in options.recipes])
    print(table)
    if options.docs:
        write_into(options.docs, table, START, END)


if __name__ == "__main__":
    main()
