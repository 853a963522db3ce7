"""What a flow says while it runs: in its log and as artifacts, where it is run by Prefect."""

import contextlib
import logging
from typing import Any

from prefect.artifacts import create_markdown_artifact, create_table_artifact
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


def show(key: str, markdown: str, about: str) -> None:
    """A page beside the flow run."""
    if in_a_run():
        create_markdown_artifact(markdown=markdown, key=key, description=about)


def show_table(key: str, rows: list[dict[str, object]], about: str) -> None:
    """A table beside the flow run."""
    if in_a_run():
        create_table_artifact(table=rows, key=key, description=about)
