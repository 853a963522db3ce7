"""What the flows ask for: the types of their parameters, from which Prefect's page makes its forms.

Prefect takes a parameter's description from the flow's docstring, and type, bounds and examples from here.
"""

import json
from typing import Annotated, Any, Literal

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler, TypeAdapter, WithJsonSchema
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from flows.catalogue import shipped
from schemas.cluster import AnyCluster
from schemas.dataset import DatasetRecipe
from schemas.experiment import ExperimentRecipe
from schemas.lineage import Keep
from schemas.placement import Placement

# A path is told from a name by its ending or by a slash, as on the command line.
PATH = r"/|\.ya?ml$"


class Tabs:
    """Alternatives that the page shows as tabs: it draws those of `anyOf`, and nothing for a tagged union."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def validate(value: Any, inner: core_schema.ValidatorFunctionWrapHandler) -> Any:
            # what a form sends is JSON, which has no tuples; our models are strict about them
            if isinstance(value, dict):
                return TypeAdapter(source).validate_json(json.dumps(value))
            return inner(value)

        return core_schema.no_info_wrap_validator_function(validate, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        found = handler(schema)
        _with_tabs(found, handler, set())
        return found


class Unread(Tabs):
    """A recipe as it was sent: the flow reads it, so that faults are told as those of a file are."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            lambda value: value, json_schema_input_schema=handler(source)
        )


def _with_tabs(schema: Any, handler: GetJsonSchemaHandler, seen: set[str]) -> None:
    """Turn each `oneOf` into `anyOf` and fill in constants, in all that a schema refers to as well."""
    if isinstance(schema, list):
        for one in schema:
            _with_tabs(one, handler, seen)
    if not isinstance(schema, dict):
        return
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference not in seen:
        seen.add(reference)
        _with_tabs(handler.resolve_ref_schema(schema), handler, seen)
    for value in list(schema.values()):
        _with_tabs(value, handler, seen)
    if isinstance(schema.get("const"), str):
        # the page shows a constant, but sends only what has a default: a `kind` that must be said
        schema.setdefault("default", schema["const"])
    elif schema.get("const") is True:
        # what somebody must say: as a constant the page shows it switched off, and nobody can switch it on
        schema["enum"] = [schema.pop("const")]
    if isinstance(schema.get("oneOf"), list):
        schema.pop("discriminator", None)
        schema["anyOf"] = schema.pop("oneOf")
    if isinstance(schema.get("anyOf"), list):
        schema["anyOf"] = [
            inner for one in schema["anyOf"] for inner in (one["anyOf"] if set(one) == {"anyOf"} else [one])
        ]


def _shipped(kind: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "title": f"shipped {kind}", "enum": sorted(shipped(kind))})


def _file(example: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "title": "file", "pattern": PATH, "examples": [example]})


RecipeForm = Annotated[
    Annotated[str, _shipped("recipe")] | Annotated[str, _file("/data/recipes/mine.yaml")] | DatasetRecipe,
    Unread(),
    Field(examples=["tiny", "/data/recipes/mine.yaml"]),
]
ExperimentForm = Annotated[
    Annotated[str, _shipped("experiment")]
    | Annotated[str, _file("/data/experiments/mine.yaml")]
    | ExperimentRecipe,
    Unread(),
    Field(examples=["classify_tiny", "/data/experiments/mine.yaml"]),
]
ExperimentForms = Annotated[
    list[ExperimentForm], Field(min_length=1, examples=[["classify_tiny", "regress_tiny"]])
]
StoreForm = Annotated[str, Field(min_length=1, examples=["runs/tiny.zarr", "s3://bucket/tiny.zarr"])]
RunForm = Annotated[str, Field(min_length=1, examples=["runs/classify_tiny"])]
FolderForm = Annotated[str, Field(min_length=1, examples=["runs/pipeline"])]
RunsForm = Annotated[list[str] | None, Field(examples=[["runs", "/home/me/trainings"]])]
NamesForm = Annotated[list[str] | None, Field(examples=[["classify_tiny"]])]
KeepForm = Annotated[Keep, Tabs(), Field(examples=[{"last": 7, "weeks": 4, "months": 6}])]
ToleranceForm = Annotated[float, Field(ge=0, le=1, examples=[0.05])]
VersionForm = Annotated[int, Field(ge=1, examples=[1])]
LineageForm = Annotated[str, Field(min_length=1, examples=["runs/tiny", "s3://bucket/tiny"])]
WorkersForm = Annotated[Annotated[int, Field(ge=1, le=10_000)] | None, Field(examples=[4])]
ShardSizeForm = Annotated[Annotated[int, Field(ge=1, le=2**20)] | None, Field(examples=[64, 4096])]
OverridesForm = Annotated[
    list[Annotated[str, Field(pattern="=")]] | None,
    Field(examples=[["samples_per_class=2000", "seed=7"]]),
]
SplitForm = Annotated[Literal["train", "val", "test"], Field(examples=["test"])]
MinutesForm = Annotated[
    Annotated[float, Field(gt=0, le=60 * 24 * 30)] | None,
    Field(examples=[120]),
]
ClusterForm = Annotated[
    AnyCluster | None,
    Tabs(),
    Field(
        examples=[{"kind": "local", "workers": 4}, {"kind": "scheduler", "address": "tcp://127.0.0.1:8786"}]
    ),
]
PlacementForm = Annotated[
    Placement | None,
    Tabs(),
    Field(
        examples=[
            {"kind": "pool", "pool": "gpu"},
            {"kind": "dask", "scheduler": {"address": "tcp://127.0.0.1:8786"}},
        ]
    ),
]
