"""What a program asks for, with faults told as our errors are: all of them, and what to write instead."""

import difflib
import re
import reprlib
from typing import Any

import numpy as np
from pydantic import ValidationError

from schemas.errors import DataError
from schemas.frozen import Frozen

# A tuple of a thousand numbers of the wrong type has a thousand faults.
MOST_FAULTS = 5


class Request(Frozen):
    """A record that people build by hand: wrong arguments are a `DataError`.

    Read from a file they are pydantic's own errors still, for whoever reads the file to tell with its path.
    """

    def __init__(self, /, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            # without the first one, whose text is meant for those who know pydantic
            raise _refused(type(self), error) from None

    # pydantic's mark of its own constructor; without it, reading a file would come through this one
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]


def _refused(model: type[Request], error: ValidationError) -> DataError:
    faults = [_fault(dict(one), list(model.model_fields)) for one in error.errors(include_url=False)]
    more = [f"  - and {len(faults) - MOST_FAULTS:,} more"] if len(faults) > MOST_FAULTS else []
    noun = "fault" if len(faults) == 1 else "faults"
    return DataError(
        "\n".join([f"{len(faults):,} {noun} in {model.__name__}(...)", *faults[:MOST_FAULTS], *more])
    )


def _fault(error: dict[str, Any], known: list[str]) -> str:
    name = ".".join(map(str, error["loc"]))
    message = _message(error, known)
    return f"  - {name}: {message}" if name else f"  - {message}"


def _message(error: dict[str, Any], known: list[str]) -> str:
    value = error["input"]
    if error["type"] == "missing":
        return "missing"
    if error["type"] == "extra_forbidden":
        return f"unknown field{_near(str(error['loc'][-1]), known) or ', not one of ' + ', '.join(known)}"
    if error["type"] == "value_error":
        return str(error["msg"]).removeprefix("Value error, ")
    found = f"(found {reprlib.repr(value)})"
    if error["type"] == "tuple_type":
        return f"should be a tuple {found}: write {_as_tuple(value)}"
    message = f"{error['msg'][0].lower()}{error['msg'][1:]} {found}"
    if isinstance(value, np.generic):
        return f"{message}; .item() makes a plain number of it"
    choices = re.findall(r"'([^']*)'", str(error.get("ctx", {}).get("expected", "")))
    return message + (_near(value, choices) if isinstance(value, str) else "")


def _as_tuple(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return "tuple(array.tolist())"
    return reprlib.repr(tuple(value) if isinstance(value, list | set | range) else (value,))


def _near(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
