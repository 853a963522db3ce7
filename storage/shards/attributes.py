"""What a data set says of itself to those who open it without lensmill: the same in every file format."""

from typing import Any

from schemas.products import MAPS
from schemas.store import SCALE, ArraySpec, StoredRecipe, StorePlan


def of_store(plan: StorePlan, recipe: StoredRecipe) -> dict[str, Any]:
    """Attributes of the group."""
    return {
        "title": f"lensmill data set {plan.recipe_name}",
        "lensmill_format": plan.schema_version,
        "recipe_digest": recipe.digest,
        "classes": {str(one.label): one.name for one in plan.classes},
        "provenance": plan.provenance.model_dump(mode="json"),
    }


def of_array(plan: StorePlan, spec: ArraySpec, bands: tuple[str, ...] = ()) -> dict[str, Any]:
    """Attributes of an array; `bands` name the channels of an image, if the recipe does."""
    found: dict[str, Any] = {}
    if spec.name == "params":
        found = {
            "columns": [column.name for column in plan.columns],
            "units": [column.unit for column in plan.columns],
            "descriptions": [column.description for column in plan.columns],
            "labels": [list(column.labels) for column in plan.columns],
        }
    if spec.name == "label":
        found = {"classes": {str(one.label): one.name for one in plan.classes}}
    if spec.name in MAPS:
        found = {"unit": MAPS[spec.name].unit, "description": MAPS[spec.name].description}
    if spec.name == "image" and bands:
        found = {"bands": list(bands)}
    if plan.is_quantised(spec.name):
        found["codes"] = (
            f"value = {spec.name}{SCALE}[..., 1] + {spec.name}{SCALE}[..., 0] * code; 65535: none"
        )
    if spec.name.endswith(SCALE):
        found = {"coefficients": ["scale", "offset"], "of": spec.name.removesuffix(SCALE)}
    return found
