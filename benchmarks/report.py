"""Results as text: a line per case while it runs, and tables for the documentation."""

from collections.abc import Iterator
from typing import Any

from benchmarks.cases import TITLES
from benchmarks.contestants import BASELINE, FLOOR, PUBLISHED, REBUILT, SHORTENED, STEPS

# a process that did not get this much of its core was disturbed
LEAST_CPU_SHARE = 0.95


def engines_of(case: dict[str, Any]) -> list[str]:
    """Our engines in a case."""
    return list(case["deviation_of_peak"])


def line(case: dict[str, Any]) -> str:
    """One case in one line."""
    parts = [f"{case['case']:28}", f"lenstronomy {case['contestants'][BASELINE]['us_per_image']:8.1f} us"]
    for engine in engines_of(case):
        numbers = case["contestants"][engine]
        parts.append(f"{engine} {numbers['us_per_image']:.1f} us = {_times(numbers)}{_verdict(case, engine)}")
    return "  ".join(parts)


def markdown(results: dict[str, Any]) -> str:
    """Tables: ratios, what is left of the time, and the published way."""
    machine = results["machine"]
    settings = results["settings"]
    parts = [
        f"One core of {machine['processor']}, Python {machine['python']}, "
        + ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
        + f"; commit {machine['commit']}; medians of {settings['rounds']} rounds.",
        *_disturbed(results),
    ]
    for rows in (_ratios(results), _steps(results), _published(results)):
        table = list(rows)
        if len(table) > 2:
            parts.append("\n".join(table))
    return "\n\n".join(parts)


def figures(number: float) -> str:
    """About three figures, never as a power of ten."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _ratios(results: dict[str, Any]) -> Iterator[str]:
    yield "| case | engine | lenstronomy | ours | ratio (spread) | aim (least) | times the deviates |"
    yield "|---|---|---|---|---|---|---|"
    for case in results["cases"]:
        baseline = case["contestants"][BASELINE]["us_per_image"]
        for engine in engines_of(case):
            numbers = case["contestants"][engine]
            ratio = numbers["times_lenstronomy"]
            aim = case["aims"].get(engine)
            cells = (
                _name(case),
                f"`{engine}`",
                f"{baseline:,.0f} µs",
                f"{numbers['us_per_image']:,.1f} µs",
                f"**{ratio['of_medians']:.2f}** ({ratio['least']:.2f} to {ratio['most']:.2f})",
                f"{aim[0]:g} ({aim[1]:g}){_verdict(case, engine)}" if aim else "",
                f"{numbers['times_floor']:.1f}" if case["noise"] != "none" else "",
            )
            yield "| " + " | ".join(cells) + " |"


def _steps(results: dict[str, Any]) -> Iterator[str]:
    yield "| case | engine | draw | engine | noise | rest | deviates alone |"
    yield "|---|---|---|---|---|---|---|"
    for case in results["cases"]:
        everyone = case["contestants"]
        for engine in engines_of(case):
            names = [f"{engine}: {step}" for step in STEPS]
            if names[0] not in everyone:
                continue
            parts = [everyone[name]["us_per_image"] for name in names]
            rest = everyone[engine]["us_per_image"] - sum(parts)
            times = " | ".join(f"{value:.1f} µs" for value in (*parts, rest, everyone[FLOOR]["us_per_image"]))
            yield f"| {_name(case)} | `{engine}` | {times} |"


def _published(results: dict[str, Any]) -> Iterator[str]:
    yield "| case | way of working | per image | images per second | longer than lenstronomy, built once |"
    yield "|---|---|---|---|---|"
    for case in results["cases"]:
        if case["noise"] != "normal":
            continue
        for name in (PUBLISHED, SHORTENED, REBUILT, BASELINE):
            if name not in case["contestants"]:
                continue
            numbers = case["contestants"][name]
            us = numbers["us_per_image"]
            slower = 1 / numbers["times_lenstronomy"]["of_medians"]
            yield f"| {_name(case)} | {name} | {us / 1000:.2f} ms | {figures(1e6 / us)} | {figures(slower)} |"


def _disturbed(results: dict[str, Any]) -> list[str]:
    shares = {
        f"{case['case']} {name}": numbers["least_cpu_share"]
        for case in results["cases"]
        for name, numbers in case["contestants"].items()
        # writing waits for the disk, children have processes of their own
        if case["noise"] != "written" and name not in (PUBLISHED, SHORTENED)
    }
    low = [name for name, share in shares.items() if share < LEAST_CPU_SHARE]
    if not low:
        return []
    worst = min(shares.values())
    return [
        f"**Disturbed**: in {len(low)} of {len(shares)} timings some round had less than"
        f" {LEAST_CPU_SHARE:.0%} of the core ({worst:.0%} at worst)."
    ]


def _name(case: dict[str, Any]) -> str:
    return f"{TITLES[case['group']]}, {case['class']}, {case['noise']}"


def _times(numbers: dict[str, Any]) -> str:
    ratio = numbers["times_lenstronomy"]
    return f"{ratio['of_medians']:.2f}x ({ratio['least']:.2f}-{ratio['most']:.2f})"


def _verdict(case: dict[str, Any], engine: str) -> str:
    aim = case["aims"].get(engine)
    if not aim:
        return ""
    reached = case["contestants"][engine]["times_lenstronomy"]["of_medians"]
    return " reached" if reached >= aim[0] else " above the least" if reached >= aim[1] else " MISSED"
