"""JSON Schemas: of recipes, for editors, which complete and check them; of what a store holds."""

from typing import Any

from pydantic import BaseModel

from schemas.cluster import ClusterRecipe
from schemas.dataset import DatasetRecipe
from schemas.experiment import ExperimentRecipe
from schemas.reading import document_kind
from schemas.registry import unknown_name
from schemas.store_schema import DIALECT, store_schema

RECIPES: tuple[type[BaseModel], ...] = (DatasetRecipe, ExperimentRecipe, ClusterRecipe)
DOCUMENTS = {document_kind(model): model for model in RECIPES}
STORE = "store"


def schema(document: str) -> dict[str, Any]:
    """The JSON Schema of a kind of recipe, or of a store's books."""
    if document == STORE:
        return store_schema()
    if document not in DOCUMENTS:
        raise unknown_name("schema", document, [*DOCUMENTS, STORE])
    return {
        "$schema": DIALECT,
        **DOCUMENTS[document].model_json_schema(mode="validation"),
    }
