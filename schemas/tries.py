"""What earlier looks at the same samples mean for a score, in words.

Beside `schemas.report`, so that a flow without torch can tell a report that was made elsewhere.
"""

from collections.abc import Sequence
from pathlib import Path

from schemas.metrics import Score
from schemas.numbers import score_words
from schemas.report import Look


def told(looks: Sequence[Look]) -> str:
    """What earlier looks mean for a score, in a sentence or two."""
    again = sum(look.again for look in looks)
    others = _rivals(looks)
    said = []
    if again:
        times = "once" if again == 1 else f"{again} times"
        said.append(f"This model was measured on these samples {times} before, which is no other try.")
    if others:
        count = tries(looks) - 1
        models = "1 other model was" if count == 1 else f"{count} other models were"
        said.append(
            f"Look {count + 1} at these samples: {models} measured on them before{_best(others)}."
            " Who chooses a model by these scores needs other samples to say how good it is."
        )
    elsewhere = len({look.weights_sha256 for look in looks if not (look.again or look.same_goal)})
    first = "First look at these samples" + (" for this goal" if elsewhere else "")
    said = said or [f"{first}, as far as this run and this machine know."]
    if elsewhere:
        models = "1 model was" if elsewhere == 1 else f"{elsewhere} models were"
        said.append(f"{models} measured on them for other goals, which is no try at this one.")
    return " ".join(said)


def tries(looks: Sequence[Look]) -> int:
    """Which look at these samples for this goal a report is: each model counts once."""
    return len({look.weights_sha256 for look in _rivals(looks)}) + 1


def _rivals(looks: Sequence[Look]) -> list[Look]:
    return [look for look in looks if look.same_goal and not look.again]


def _best(looks: Sequence[Look]) -> str:
    """The best by what most of them were measured by; other goals and classes cannot be compared."""
    goals: dict[tuple[str, tuple[int, ...]], list[tuple[Score, Look]]] = {}
    for look in looks:
        for score in look.scores[:1]:
            goals.setdefault((score.name, look.labels), []).append((score, look))
    if not goals:
        return ""
    goal = max(goals.values(), key=len)
    sign = 1 if goal[0][0].better == "higher" else -1
    score, look = max(goal, key=lambda one: sign * one[0].value.value)
    unit = "" if score.unit in ("", "1") else f" {score.unit}"
    return f", the best with {score_words(score.name)} {score.value.value:.4g}{unit} ({Path(look.run).name})"
