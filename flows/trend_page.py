"""Scores over versions as an artifact: what fell behind in bold, a table, a line of the values."""

from collections.abc import Sequence

from schemas.metrics import Interval
from schemas.trend import Change, Point

BARS = "▁▂▃▄▅▆▇█"
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
    lines += [
        f"A regression is a difference whose 95% interval lies beyond {tolerance:.0%} of what the earlier",
        "score gained over knowing nothing. Each version has test samples of its own; intervals are of",
        "samples, so a little comes and goes with each training.",
    ]
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
    lines += [f"`{bars([one.score.value.value for one in rows])}` versions {_span(rows)}", ""]
    lines += ["| version | made | value | 95% | against | difference | |", "|---|---|---|---|---|---|---|"]
    for one in reversed(rows[-SHOWN:]):
        day = moment.strftime("%Y-%m-%d %H:%M") if (moment := made.get(one.version)) else ""
        value, against = one.score.value, "" if one.against is None else str(one.against)
        cells = (
            one.version,
            day,
            f"{value.value:.4g}",
            _ends(value),
            against,
            _apart(one),
            SAID[one.verdict],
        )
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return [*lines, ""]


def _span(rows: Sequence[Change]) -> str:
    numbers = [one.version for one in rows[-SHOWN:]]
    return f"{numbers[0]} to {numbers[-1]}" if len(numbers) > 1 else str(numbers[0])


def _ends(value: Interval) -> str:
    return f"{value.low:.4g} to {value.high:.4g}"


def _apart(change: Change) -> str:
    one = change.difference
    return "" if one is None else f"{one.value:+.3g} ({one.low:+.3g} to {one.high:+.3g})"


def bars(values: Sequence[float]) -> str:
    """The last values as a line of bars, from the smallest to the largest of them."""
    shown = values[-SHOWN:]
    low, high = min(shown), max(shown)
    if high == low:
        return BARS[len(BARS) // 2] * len(shown)
    return "".join(BARS[round((one - low) / (high - low) * (len(BARS) - 1))] for one in shown)
