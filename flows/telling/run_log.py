"""What a flow says while it runs: in its log and as artifacts, where it is run by Prefect."""

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.context import FlowRunContext
from prefect.exceptions import MissingContextError
from prefect.logging import get_run_logger

Logger = logging.Logger | logging.LoggerAdapter[Any]


def in_a_run() -> bool:
    """Whether this is part of a flow run; functions of flows are called without one too."""
    return FlowRunContext.get() is not None


def run_logger() -> Logger:
    """The log of the flow run that this is part of; outside of one, a log of our own."""
    with contextlib.suppress(MissingContextError):
        return get_run_logger()
    return logging.getLogger("lensmill")


def say(text: str, bad: bool = False) -> None:
    """A line in the flow's log."""
    run_logger().log(logging.WARNING if bad else logging.INFO, text)


@contextlib.contextmanager
def at_no_cost(what: str) -> Iterator[None]:
    """Something for Prefect's page. Its loss, such as to a server that is away, is a warning in the log.

    What it tells of is done. Prefect's client has tried for a minute by then.
    """
    try:
        yield
    except Exception as error:
        reason = str(error) or type(error).__name__
        say(f"{what} is not shown on Prefect's page: {reason.partition(chr(10))[0]}", bad=True)


def show(key: str, markdown: str, about: str) -> None:
    """A page beside the flow run."""
    if in_a_run():
        with at_no_cost(key):
            create_markdown_artifact(markdown=markdown, key=key, description=about)


def show_table(key: str, rows: list[dict[str, Any]], about: str) -> None:
    """A table beside the flow run."""
    if in_a_run():
        with at_no_cost(key):
            create_table_artifact(table=rows, key=key, description=about)


class Gauge:
    """How far some work is, as a percentage beside the flow run.

    A server that was away once is not asked again: work of many parts must not wait for it at each.
    """

    def __init__(self, key: str, about: str) -> None:
        self.key = key
        self.artifact: Any = None
        if in_a_run():
            with at_no_cost(key):
                self.artifact = create_progress_artifact(progress=0.0, key=key, description=about)

    def tell(self, percent: float) -> None:
        """So much is done."""
        artifact, self.artifact = self.artifact, None
        if artifact is not None:
            with at_no_cost(self.key):
                update_progress_artifact(artifact, progress=percent)
                self.artifact = artifact
