"""The JSON Schema that a store carries: of its books, and of one row of its data.

Whoever finds a store in ten years can check and read it with this and any JSON library.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from schemas.columns import ColumnSpec
from schemas.frozen import canonical_json
from schemas.store import (
    SCHEMA_VERSION,
    ClassSpec,
    CommitMarker,
    Manifest,
    Receipt,
    StoredRecipe,
    StorePlan,
)

DIALECT = "https://json-schema.org/draft/2020-12/schema"
# Each book by the name of its file; a receipt by what it is.
BOOK_MODELS: dict[str, type[BaseModel]] = {
    "recipe": StoredRecipe,
    "plan": StorePlan,
    "receipt": Receipt,
    "manifest": Manifest,
    "marker": CommitMarker,
}


def store_schema(columns: Iterable[ColumnSpec] = (), classes: Iterable[ClassSpec] = ()) -> dict[str, Any]:
    """One document: each book under its name, and `row`, which knows the columns of this store."""
    books = {name: {"$ref": f"#/$defs/{model.__name__}"} for name, model in BOOK_MODELS.items()}
    row = _row(tuple(columns), tuple(one.label for one in classes))
    return {
        "$schema": DIALECT,
        "title": f"A lensmill store, schema version {SCHEMA_VERSION}",
        "description": "the books in its folder lensmill/, and one row of its data",
        "type": "object",
        "properties": books | {"row": row},
        "$defs": _book_schemas(),
    }


@lru_cache(maxsize=1)
def _book_schemas() -> dict[str, Any]:
    """All models behind the books, by name. Kept: it takes a twentieth of a second."""
    _, shared = models_json_schema([(model, "validation") for model in BOOK_MODELS.values()])
    defined: dict[str, Any] = shared["$defs"]
    return defined


def schema_text(plan: StorePlan) -> bytes:
    """The file of a store with this plan: the same bytes for the same plan and version of pydantic."""
    return (canonical_json(store_schema(plan.columns, plan.classes)) + "\n").encode()


def _row(columns: tuple[ColumnSpec, ...], labels: tuple[int, ...]) -> dict[str, Any]:
    """A row as JSON says it: null stands for NaN, where a column does not apply."""
    numbers = {column.name: _number(column) for column in columns}
    label: dict[str, Any] = {"type": "integer", "description": "class of the sample"}
    return {
        "title": "One row of a split, without its maps",
        "type": "object",
        "properties": {
            "sample_id": {"type": "integer", "minimum": 0, "description": "number of the sample"},
            "label": label | ({"enum": list(labels)} if labels else {"minimum": 0}),
            **numbers,
        },
        "required": ["sample_id", "label", *numbers],
        "additionalProperties": False,
        "allOf": [_of_class(columns, one) for one in labels],
    }


def _number(column: ColumnSpec) -> dict[str, Any]:
    bounds = {
        "exclusiveMinimum": column.gt,
        "minimum": column.ge,
        "exclusiveMaximum": column.lt,
        "maximum": column.le,
    }
    return {
        "type": ["number", "null"],
        "description": column.description,
        "x-unit": column.unit,
        **{key: value for key, value in bounds.items() if value is not None},
    }


def _of_class(columns: tuple[ColumnSpec, ...], label: int) -> dict[str, Any]:
    """Which columns a class has; one of some splits only may be either."""
    kinds = {
        column.name: {"type": "number" if label in column.labels else "null"}
        for column in columns
        if column.splits is None or label not in column.labels
    }
    return {
        "if": {"properties": {"label": {"const": label}}},
        "then": {"properties": kinds},
    }
