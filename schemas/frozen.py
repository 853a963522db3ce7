"""The immutable base of every model, and the canonical JSON that digests are taken of."""

import hashlib
import json
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer


class Frozen(BaseModel):
    """Immutable, strict about types, refuses unknown fields, NaN and infinity."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        ser_json_inf_nan="strings",
    )

    def to_json(self) -> str:
        """Readable JSON for files that people open."""
        return json.dumps(self.model_dump(mode="json"), indent=2, allow_nan=False) + "\n"


class Extended(Frozen):
    """A model that was given fields later: dumps leave them out while they hold their default.

    So recipes from before such a field existed keep their digest.
    """

    LATER: ClassVar[tuple[str, ...]] = ()

    @model_serializer(mode="wrap")
    def _without_unused(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields = type(self).model_fields
        unused = {
            name for name in self.LATER if name in fields and getattr(self, name) == fields[name].default
        }
        return {name: value for name, value in handler(self).items() if name not in unused}


def canonical_json(value: Any) -> str:
    """One spelling per content: sorted keys, no spaces, shortest floats, ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True)


def sha256_of(content: str | bytes) -> str:
    """Hexadecimal SHA-256 of a text (as UTF-8) or of bytes."""
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()
