"""The command: subcommands live in `flows.commands`; here errors become messages and exit codes."""

import contextlib
import logging
import signal
import sys
import threading
import traceback
import warnings
from _thread import interrupt_main
from collections.abc import Iterator
from types import FrameType
from typing import Any

from rich.markup import escape

from flows.commands import (
    compare,
    convert,
    data,
    export,
    imports,
    models,
    repair,
    service,
    status,
    training,
    versions,
)
from flows.commands.app import FAILED, app, err
from flows.telling import journal
from schemas.errors import LensmillError, RecipeWarning

BAD_INPUT, INTERRUPTED = 2, 130
AGAIN_SECONDS = 0.1


def main() -> None:
    """Run the command; errors raised on purpose become one message and an exit code."""
    ctrl_c = _CtrlC()
    # a log that cannot be sent is no reason to write about it over what the command says
    logging.raiseExceptions = False
    try:
        with told_once():
            app()
    except LensmillError as error:
        code = BAD_INPUT if error.is_bad_input else FAILED
        if journal.wanted():
            journal.write_error(error, code)
        else:
            err.print("[bold red]error:[/]", escape(str(error)), soft_wrap=True, highlight=False)
        sys.exit(code)
    except BaseException as error:
        # libraries turn Ctrl-C and Prefect's SIGTERM into errors of their own; what was asked for counts
        pressed = ctrl_c.pressed or isinstance(error, KeyboardInterrupt) or "TerminationSignal" in str(error)
        if not pressed and getattr(error, "code", None) != INTERRUPTED:
            if journal.wanted() and isinstance(error, Exception):
                journal.write("critical", str(error), traceback=traceback.format_exc(), exit_code=FAILED)
                sys.exit(FAILED)
            raise
        err.print("interrupted; finished shards are kept, the same command goes on from there")
        sys.exit(INTERRUPTED)
    finally:
        ctrl_c.forget()


@contextlib.contextmanager
def told_once() -> Iterator[None]:
    """Warnings about recipes as one line each, however often a recipe is read."""
    told: set[str] = set()
    with warnings.catch_warnings():
        show = warnings.showwarning
        warnings.simplefilter("always", RecipeWarning)

        def tell(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if not issubclass(category, RecipeWarning):
                show(message, category, *where, **more)
            elif str(message) not in told:
                told.add(str(message))
                err.print("[bold yellow]warning:[/]", escape(str(message)), soft_wrap=True, highlight=False)

        warnings.showwarning = tell
        yield


class _CtrlC:
    """Remembers that Ctrl-C was pressed, and interrupts as ever.

    Where Python ignores errors (Dask looks at every garbage collection) an interruption would be a traceback
    on the screen and no more: it is tried again a moment later.
    """

    def __init__(self) -> None:
        self.pressed = False
        self.before = signal.signal(signal.SIGINT, self._press)
        self.hook, sys.unraisablehook = sys.unraisablehook, self._ignored

    def _ignored(self, error: Any) -> None:
        if issubclass(error.exc_type, KeyboardInterrupt):
            threading.Timer(AGAIN_SECONDS, interrupt_main).start()
        else:
            self.hook(error)

    def _press(self, number: int, frame: FrameType | None) -> None:
        self.pressed = True
        signal.default_int_handler(number, frame)

    def forget(self) -> None:
        """Put the handler of before back."""
        signal.signal(signal.SIGINT, self.before)
        sys.unraisablehook = self.hook


__all__ = [
    "app",
    "compare",
    "convert",
    "data",
    "export",
    "imports",
    "main",
    "models",
    "repair",
    "service",
    "status",
    "training",
    "versions",
]

if __name__ == "__main__":
    main()
