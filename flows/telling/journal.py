"""One JSON object a line on stderr instead of words for people: `--log json` or `LENSMILL_LOG=json`.

The same fields whoever speaks: `time`, `level` and `message` always; `flow`, `run` and `store` where they are
known; beside progress and errors the numbers and words they are made of. The standard library's formatter is
all it takes.
"""

import datetime
import json
import logging
import os
import re
import sys
from typing import Any, TextIO

from schemas.errors import LensmillError

VARIABLE = "LENSMILL_LOG"
JSON = "json"
# how Prefect is told of the same in processes that load it: by its own overrides of its own settings
PREFECT = {
    "PREFECT_LOGGING_FORMATTERS_JSON_CLASS": "flows.telling.journal.Objects",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_FORMATTER": "json",
    "PREFECT_LOGGING_COLORS": "false",
}
SAID = re.compile(r"^(error|warning): ")
# what Prefect calls them, and what we do
KNOWN = {
    "flow_name": "flow",
    "flow_run_name": "run",
    "task_run_name": "task",
    "store": "store",
    "worker": "worker",
}


def wanted() -> bool:
    """Whether this process is to write objects."""
    return os.environ.get(VARIABLE) == JSON


def entry(level: str, message: str, **facts: Any) -> str:
    """One line; facts that are not known are left out."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    known = {name: value for name, value in facts.items() if value is not None and value != ""}
    return json.dumps({"time": now, "level": level, "message": message, **known}, default=str)


def write(level: str, message: str, **facts: Any) -> None:
    """An object to stderr, whole, so that lines of several threads do not mix."""
    sys.stderr.write(entry(level, message, **facts) + "\n")
    sys.stderr.flush()


def write_error(error: LensmillError, code: int) -> None:
    """The error that ends a command, in its parts."""
    write(
        "error",
        error.found,
        kind=type(error).__name__,
        expected=error.expected,
        where=error.where,
        advice=error.advice,
        exit_code=code,
    )


class Objects(logging.Formatter):
    """Records of any logger, Prefect's among them."""

    def __init__(self, *_: Any, **__: Any) -> None:
        # Prefect's settings give a format and a style, which objects have not
        super().__init__()

    def format(self, record: logging.LogRecord) -> str:
        """A record as one line."""
        facts = {ours: getattr(record, theirs, None) for theirs, ours in KNOWN.items()}
        facts |= getattr(record, "facts", {})
        if record.exc_info:
            facts["traceback"] = self.formatException(record.exc_info)
        return entry(record.levelname.lower(), record.getMessage(), logger=record.name, **facts)


class Lines:
    """Where a console of rich writes to: what it prints for people becomes an object for each line."""

    encoding = "utf-8"

    def __init__(self, level: str = "info") -> None:
        self.level = level

    def write(self, text: str) -> int:
        """Printed text, of which `error:` and `warning:` at the head say how bad it is."""
        for line in filter(None, (line.strip() for line in text.splitlines())):
            said = SAID.match(line)
            level = said[1] if said else self.level
            write(level, SAID.sub("", line))
        return len(text)

    def flush(self) -> None:
        """Every line was written at once."""

    def isatty(self) -> bool:
        """No colours."""
        return False


def lines() -> TextIO:
    """The file of a console that is to write objects."""
    return Lines()  # type: ignore[return-value]
