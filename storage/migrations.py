"""How books of older schema versions are read: each step is a pure function from one version to the next.

Nothing is ever rewritten in an old store. A book is brought up to date in memory each time it is read, and
the digests that seal a store are always taken of the bytes as they stand.
"""

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel

from schemas.store import SCHEMA_VERSION, CommitMarker, Manifest, Receipt, StoredRecipe, StorePlan

Book = Mapping[str, Any]
Step = Callable[[Book], dict[str, Any]]


def version_of(book: Book) -> Any:
    """The schema version that a book says it has. Version 1 called it its format, or said nothing."""
    return book.get("schema_version", book.get("format_version", 1))


def migrate(model: type[BaseModel], book: Book) -> Book:
    """A book as this version would have written it; one that is of this version, or newer, as it is."""
    version = version_of(book)
    steps = STEPS.get(model, {})
    while version in steps:
        book = steps[version](book)
        version = version_of(book)
    return book


def _to_2(book: Book) -> dict[str, Any]:
    """Version 2 has `schema_version` in every book, where version 1 had `format_version` in some."""
    return {"schema_version": 2, **{key: value for key, value in book.items() if key != "format_version"}}


def _manifest_to_2(book: Book) -> dict[str, Any]:
    """A manifest repeats its receipts; of a JSON Schema version 1 knew nothing."""
    return _to_2(book) | {"schema_sha256": None, "receipts": [_to_2(one) for one in book["receipts"]]}


STEPS: Mapping[type[BaseModel], Mapping[int, Step]] = {
    StoredRecipe: {1: _to_2},
    StorePlan: {1: _to_2},
    Receipt: {1: _to_2},
    Manifest: {1: _manifest_to_2},
    CommitMarker: {1: _to_2},
}
# every book can be read from every version
assert all(set(steps) == set(range(1, SCHEMA_VERSION)) for steps in STEPS.values())
