"""JSON Schemas for editors, which complete and check recipes with them."""

from typing import Any

from pydantic import BaseModel

from schemas.dataset import DatasetRecipe
from schemas.experiment import ExperimentRecipe
from schemas.reading import document_kind
from schemas.registry import unknown_name

RECIPES: tuple[type[BaseModel], ...] = (DatasetRecipe, ExperimentRecipe)
DOCUMENTS = {document_kind(model): model for model in RECIPES}


def schema(document: str) -> dict[str, Any]:
    """The JSON Schema of a kind of recipe."""
    if document not in DOCUMENTS:
        raise unknown_name("schema", document, DOCUMENTS)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **DOCUMENTS[document].model_json_schema(mode="validation"),
    }
