"""The command: subcommands live in `flows.commands`; here errors become messages and exit codes."""

import sys

from rich.markup import escape

from flows.commands import data, service, training
from flows.commands.app import FAILED, app, err
from schemas.errors import ColumnError, DataError, LensmillError, RecipeError, UnknownNameError

BAD_INPUT, INTERRUPTED = 2, 130


def main() -> None:
    """Run the command; errors raised on purpose become one message and an exit code."""
    try:
        app()
    except LensmillError as error:
        err.print("[bold red]error:[/]", escape(str(error)), soft_wrap=True, highlight=False)
        bad_input = isinstance(error, RecipeError | UnknownNameError | ColumnError | DataError)
        sys.exit(BAD_INPUT if bad_input else FAILED)
    except KeyboardInterrupt:
        err.print("interrupted; finished shards are kept, the same command goes on from there")
        sys.exit(INTERRUPTED)


__all__ = ["app", "data", "main", "service", "training"]

if __name__ == "__main__":
    main()
