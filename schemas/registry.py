"""Registries: plain dictionaries filled by a decorator and explicit imports."""

import difflib
from collections.abc import Callable
from typing import TypeVar

from schemas.errors import UnknownNameError

T = TypeVar("T")


class Registry(dict[str, T]):
    """Names to implementations; a repeated name raises, an unknown one lists what is known."""

    def __init__(self, noun: str) -> None:
        super().__init__()
        self.noun = noun

    def register(self, name: str) -> Callable[[T], T]:
        """Decorate an implementation to file it under `name`."""

        def file(implementation: T) -> T:
            if name in self:
                raise ValueError(f"{self.noun} {name!r} is registered twice")
            self[name] = implementation
            return implementation

        return file

    def __missing__(self, name: str) -> T:
        raise unknown_name(self.noun, name, self)


def unknown_name(
    noun: str, name: str, known: "dict[str, T] | list[str]", advice: str = "", where: str = ""
) -> UnknownNameError:
    """The error for a name that is not among the known ones, with the nearest one as advice."""
    near = difflib.get_close_matches(str(name), list(known), n=1)
    return UnknownNameError(
        f"unknown {noun} {name!r}",
        expected=f"one of {', '.join(sorted(known))}",
        where=where,
        advice=f"did you mean {near[0]!r}?" if near else advice,
    )
