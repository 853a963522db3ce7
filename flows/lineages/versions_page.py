"""The versions of a folder as an artifact."""

import re

from flows.lineages.retention import Retention
from schemas.lineage import Version, VersionBook
from storage.files.place import Root

# Of removed versions only these are shown; the book has all.
REMOVED_SHOWN = 5


def key_of(root: Root) -> str:
    """The key of a folder's artifact: one line of history per folder."""
    return "versions-" + re.sub(r"[^a-z0-9]+", "-", root.name.lower()).strip("-")


def page(root: Root, book: VersionBook, latest: int | None, done: Retention, failure: str) -> str:
    """Where things stand, in Markdown."""
    lines = [f"## Versions below `{root}`", ""]
    if failure:
        lines += [f"**this run failed: {failure}**", ""]
    lines += ["| version | recipe | made | state | images | size | seed |", "|---|---|---|---|---|---|---|"]
    gone = [one for one in reversed(book.versions) if one.state == "removed"]
    lines += [_row(one, one.number == latest) for one in (*book.there, *gone[:REMOVED_SHOWN])]
    if done.removed:
        lines += ["", f"removed now: {', '.join(map(str, done.removed))}"]
    lines += [line for one in done.complaints for line in ("", f"**{one}**")]
    lines += ["", f"policy: {book.policy}, and what runs refer to"]
    return "\n".join(lines) + "\n"


def _row(one: Version, latest: bool) -> str:
    made = one.made.strftime("%Y-%m-%d %H:%M") if one.made else ""
    state = "**latest**" if latest else one.state
    reason = ": " + one.reason.partition("\n")[0].replace("|", "/") if one.reason else ""
    cells = (f"{one.number}", f"{one.recipe} {one.lineage[:8]}", made, f"{state}{reason}")
    return "| " + " | ".join((*cells, f"{one.rows:,}", f"{one.bytes / 1e6:,.1f} MB", f"{one.seed}")) + " |"
