"""Scores over versions as an artifact: what fell behind in bold, a picture, a table."""

from collections.abc import Sequence

from flows.lineages.trend_picture import trend_picture
from schemas.metrics import Interval
from schemas.trend import Change, Point

SHOWN = 30
SAID = {"worse": "**regression**", "better": "better", "as before": "as before", "first": "first"}


def trend_page(name: str, points: Sequence[Point], found: Sequence[Change], tolerance: float) -> str:
    """What became of an experiment, the newest version first."""
    lines = [f"## {name} over versions", ""]
    newest = max((one.version for one in found), default=0)
    for one in found:
        if one.version == newest and one.verdict == "worse":
            lines += [f"**regression: {one}**", "", _what_else(points, one), ""]
    for score in dict.fromkeys(one.score.name for one in found):
        lines += _table([one for one in found if one.score.name == score], points)
    # one line: Prefect's page breaks where the text does
    lines.append(
        f"A regression is a difference whose 95% interval lies beyond {tolerance:.0%} of what the earlier"
        " score gained over knowing nothing, and a score outside of what two or more earlier ones predict."
        " Each version has test samples of its own."
    )
    return "\n".join(lines) + "\n"


def _what_else(points: Sequence[Point], change: Change) -> str:
    """Package versions that differ between the two, which may be why."""
    packages = {one.version: one.packages for one in points}
    before, now = packages.get(change.against or 0, {}), packages.get(change.version, {})
    differ = [
        f"{name} {before.get(name, 'none')} -> {now.get(name, 'none')}"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    ]
    return (
        f"Between the two changed: {', '.join(differ)}." if differ else "No package changed between the two."
    )


def _table(rows: Sequence[Change], points: Sequence[Point]) -> list[str]:
    made = {one.version: one.made for one in points}
    first = rows[0].score
    unit = "" if first.unit == "1" else f", {first.unit}"
    lines = [f"**{first.name}**{unit} ({first.better} is better)", ""]
    if len(rows) > 1:
        lines += [trend_picture(rows[-SHOWN:]), ""]
    # what matters first: Prefect's page hides what is too wide
    lines += ["| version | | value | 95% | difference | than | made |", "|---|---|---|---|---|---|---|"]
    for one in reversed(rows[-SHOWN:]):
        day = moment.strftime("%Y-%m-%d %H:%M") if (moment := made.get(one.version)) else ""
        value, against = one.score.value, "" if one.against is None else str(one.against)
        cells = (
            one.version,
            SAID[one.verdict],
            f"{value.value:.4g}",
            _ends(value),
            _apart(one),
            against,
            day,
        )
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return [*lines, ""]


def _ends(value: Interval) -> str:
    return f"{value.low:.4g} to {value.high:.4g}"


def _apart(change: Change) -> str:
    one = change.difference
    return "" if one is None else f"{one.value:+.2g} ({one.low:+.2g} to {one.high:+.2g})"
