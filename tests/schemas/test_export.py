"""The JSON Schema that editors complete recipes with."""

import copy
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from flows.catalogue import shipped
from schemas.errors import UnknownNameError
from schemas.export import DOCUMENTS, schema
from schemas.reading import parse

SHIPPED = shipped()


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(schema("dataset"))


def document(path: Path) -> Any:
    return parse(path.read_text(encoding="utf-8"), path.name).value


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_export_is_valid_json_schema(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(schema(name))


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_recipe_fits_the_schema(validator: jsonschema.Draft202012Validator, name: str) -> None:
    validator.validate(document(SHIPPED[name]))


@pytest.mark.parametrize("inside", [(), ("source",), ("instrument",), ("classes", 1, "substructure")])
def test_the_schema_rejects_an_unknown_key(
    validator: jsonschema.Draft202012Validator, inside: tuple[str | int, ...]
) -> None:
    broken = copy.deepcopy(document(SHIPPED["tiny"]))
    target = broken
    for part in inside:
        target = target[part]
    target["sead"] = 1
    assert not validator.is_valid(broken)


def test_the_schema_rejects_a_value_out_of_range(validator: jsonschema.Draft202012Validator) -> None:
    assert not validator.is_valid({**document(SHIPPED["tiny"]), "seed": -1})


def test_every_field_of_a_recipe_is_described() -> None:
    """Editors show the description; a field of another model is described by that model."""
    for name, model in schema("dataset")["$defs"].items():
        for key, field in model["properties"].items():
            told = {"description", "const", "$ref", "oneOf", "discriminator"} & set(field)
            assert told, f"{name}.{key}"


def test_units_and_bounds_are_in_the_schema() -> None:
    theta_e = schema("dataset")["$defs"]["SIE"]["properties"]["theta_E"]
    assert theta_e["x-unit"] == "arcsec"
    assert theta_e["x-bounds"] == "> 0, <= 20"


def test_an_unknown_document_lists_the_known() -> None:
    with pytest.raises(UnknownNameError, match="dataset"):
        schema("datset")
