"""What a run does that nobody watches: it waits for its turn, tries again, and says why it failed.

A person at a command is told at once instead, and decides.
"""

import contextlib
import functools
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ParamSpec, TypeVar

from distributed.comm.core import CommClosedError
from prefect import get_run_logger
from prefect.context import FlowRunContext
from prefect.states import Failed
from prefect.utilities.timeout import timeout

from flows.serving.closing import label_run
from schemas.errors import FlowError, LensmillError, StoreBusyError, StoreUnreachableError, first_line
from storage import commit
from storage.files.place import Root

P = ParamSpec("P")
R = TypeVar("R")

# Set by Prefect in the process that a worker starts for a run.
STARTED_BY_A_WORKER = "PREFECT__FLOW_RUN_ID"
# For longer than any data set takes on one machine: the other run's end is what is waited for.
TURN_HOURS = 24.0
LOOK_SECONDS = 5.0
SAY_SECONDS = 300.0
# An object store restarts in a minute; a network is mended, or it is not, within a quarter of an hour.
PAUSES_SECONDS = (60.0, 300.0, 900.0)
# Nothing else is tried again: bad input stays bad, and Dask has tried what died with its worker.
PASSING = (StoreUnreachableError, ConnectionError, CommClosedError)
GIVEN_UP = "this was tried again several times"


def unattended() -> bool:
    """Whether a worker started this process, and so nobody is there to run a command again."""
    return STARTED_BY_A_WORKER in os.environ


def told(function: Callable[P, R]) -> Callable[P, R]:
    """A flow's function whose errors raised on purpose are the message of its state, word for word.

    Raised, they would stand behind Prefect's own words, with a traceback in the run's log. The run is
    labelled, so that it can be closed if its process cannot even tell that.
    """

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        label_run()
        try:
            return function(*args, **kwargs)
        except LensmillError as error:
            if FlowRunContext.get() is None:
                raise
            # the engine takes the state for the run's and raises what is in it where the flow was called
            return Failed(data=error, message=str(error))  # type: ignore[return-value]

    return run


def persevering(function: Callable[P, R]) -> Callable[P, R]:
    """A function that is called again where what it met passes by itself, unless somebody is watching.

    What another such function inside of it has given up is not tried anew: the tries would multiply.
    """

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        for pause in PAUSES_SECONDS if unattended() else ():
            try:
                return function(*args, **kwargs)
            except PASSING as error:
                if GIVEN_UP in getattr(error, "__notes__", ()):
                    raise
                said = first_line(error)
                get_run_logger().warning("%s: %s; again in %g s", type(error).__name__, said, pause)
                time.sleep(pause)
        try:
            return function(*args, **kwargs)
        except PASSING as error:
            if unattended():
                error.add_note(GIVEN_UP)
            raise

    return run


@contextlib.contextmanager
def turn(root: Root, held: Path = commit.LOCK) -> Iterator[None]:
    """The right to write a store, for which a run that nobody watches waits until the other one has ended.

    `held` is the lock's file, of something else that is written by one at a time.
    """
    deadline = time.monotonic() + (TURN_HOURS * 3600 if unattended() else 0.0)
    said = -SAY_SECONDS
    with contextlib.ExitStack() as waited:
        while True:
            try:
                waited.enter_context(commit.writing(root, held))
                break
            except StoreBusyError as error:
                if time.monotonic() >= deadline:
                    raise
                if time.monotonic() - said >= SAY_SECONDS:
                    said = time.monotonic()
                    get_run_logger().info("waiting for its turn: %s", error.found)
            time.sleep(LOOK_SECONDS)
        yield


@contextlib.contextmanager
def within(minutes: float | None, what: str) -> Iterator[None]:
    """A limit to how long something may take; none when left out."""

    class _TimeIsUpError(TimeoutError): ...

    try:
        with timeout(None if minutes is None else 60 * minutes, _TimeIsUpError):
            yield
    except _TimeIsUpError as error:
        raise FlowError(
            f"{what} took longer than {minutes:g} minutes and was ended",
            expected="an end within `timeout_minutes`",
            advice="see in the log how far it came; give it more minutes, or leave `timeout_minutes` out",
        ) from error
