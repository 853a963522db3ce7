"""From YAML and command-line overrides to models, with errors that name the line.

Documents are composed, never constructed: only plain scalars, lists and mappings become Python values, so a
tag that would run code is refused. YAML 1.2 rules hold: `1e6` is a number, `no` is a word.
"""

import difflib
import json
import math
from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from schemas.errors import RecipeError

Model = TypeVar("Model", bound=BaseModel)
KeyPath = tuple[str | int, ...]

# Aliases may repeat a node; a document that unfolds beyond this is an attack or a mistake.
MOST_NODES = 100_000
MOST_BYTES = 4_000_000
_TAG = "tag:yaml.org,2002:"
# a default that rests on other keys, one of which is at fault; that one is told
FOLLOWS_FROM_ANOTHER = "default_factory_not_called"


@dataclass
class Document:
    """Plain values of a YAML text and, for each key path, where it was said."""

    value: Any
    source: str
    lines: dict[KeyPath, str] = field(default_factory=dict)

    def where(self, path: KeyPath) -> str:
        """The line of the nearest enclosing key."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.lines:
                return self.lines[path[:length]]
        return self.source


def read_recipe(path: Path, model: type[Model], overrides: Sequence[str] = ()) -> Model:
    """The model that a YAML file and `key=value` overrides describe."""
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RecipeError(
            f"cannot read the recipe {path}: {reason}", expected="a readable YAML file"
        ) from error
    if len(content) > MOST_BYTES:
        raise RecipeError(f"{path} has {len(content):,} bytes", expected="a recipe below 4 MB")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path} is not UTF-8 text: {error.reason}", expected="a YAML file") from error
    document = parse(text, str(path))
    for override in overrides:
        apply_override(document, override)
    return validate(document, model)


def recipe_from(values: Any, source: str, model: type[Model], overrides: Sequence[str] = ()) -> Model:
    """The model that plain values and `key=value` overrides describe; a model counts by its values."""
    plain = values.model_dump(mode="json") if isinstance(values, BaseModel) else values
    document = Document(deepcopy(plain), source)
    for override in overrides:
        apply_override(document, override)
    return validate(document, model)


def parse(text: str, source: str) -> Document:
    """A YAML text as plain values with their lines."""
    document = Document(None, source)
    yaml = YAML(typ="safe", pure=True)
    try:
        node = yaml.compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark else ""
        raise RecipeError(
            f"broken YAML: {error.problem or error.context}",
            where=f"{source}{line}",
            advice="check indentation, colons and brackets around that line",
        ) from error
    except (YAMLError, ValueError) as error:
        raise RecipeError(f"broken YAML: {error}", where=source) from error
    except RecursionError as error:
        raise RecipeError("the recipe is nested too deeply", where=source) from error
    if node is None:
        raise RecipeError("the recipe is empty", expected="a mapping of keys to values", where=source)
    document.value = _plain(node, (), document, [0])
    return document


def _plain(node: Node, path: KeyPath, document: Document, count: list[int]) -> Any:
    count[0] += 1
    where = f"{document.source}, line {node.start_mark.line + 1}"
    if count[0] > MOST_NODES or len(path) > 64:
        raise RecipeError("the recipe unfolds to too many values or levels", where=where)
    document.lines.setdefault(path, where)
    if isinstance(node, ScalarNode):
        return _scalar(node, where)
    standard = _TAG + ("map" if isinstance(node, MappingNode) else "seq")
    if node.tag != standard:
        raise _refused_tag(node, where)
    if isinstance(node, SequenceNode):
        return [_plain(item, (*path, i), document, count) for i, item in enumerate(node.value)]
    result: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = key_node.value
        here = f"{document.source}, line {key_node.start_mark.line + 1}"
        if not isinstance(key_node, ScalarNode):
            raise RecipeError("a key is not a plain word", where=here)
        if key in result:
            raise RecipeError(f"key {key!r} is given twice", where=here, advice="keep one of the two")
        document.lines[(*path, key)] = here
        result[key] = _plain(value_node, (*path, key), document, count)
    return result


def _scalar(node: ScalarNode, where: str) -> Any:
    text = node.value
    kind = str(node.tag).removeprefix(_TAG)
    if kind in ("str", "timestamp"):
        if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
            raise RecipeError("half of a surrogate pair is no text", where=where)
        return str(text)
    if kind == "null":
        return None
    if kind == "bool" and text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        if kind == "int":
            return _integer(text)
        if kind == "float":
            return _number(text)
    except ValueError as error:
        raise RecipeError(f"{text!r} is not a number", where=where) from error
    raise _refused_tag(node, where)


def _integer(text: str) -> int:
    digits = text.replace("_", "")
    return int(digits, 0) if digits.lstrip("+-")[:2] in ("0x", "0o") else int(digits)


def _number(text: str) -> float | int:
    # YAML writes .inf and .nan; both are refused later with the key's path
    value = float(text.replace("_", "").replace(".inf", "inf").replace(".nan", "nan"))
    # 1e4 samples are a count like any other
    return int(value) if "." not in text and value.is_integer() and abs(value) < 2**53 else value


def _refused_tag(node: Node, where: str) -> RecipeError:
    return RecipeError(
        f"the tag {node.tag!r} is refused",
        expected="plain numbers, words, lists and mappings; a recipe never runs code",
        where=where,
        advice="remove the tag",
    )


def apply_override(document: Document, override: str) -> None:
    """Set one dotted key, as in `source.magnitude=21` or `classes.cdm.substructure.count=10`."""
    key, equals, text = override.partition("=")
    where = f"--set {override}"
    if not equals or not key.strip():
        raise RecipeError(f"the override {override!r} is not of the form key=value", where="--set")
    value = parse(text, where).value if text.strip() else None
    parts = key.strip().split(".")
    target: Any = document.value
    path: KeyPath = ()
    for depth, part in enumerate(parts):
        slot, path = _slot(target, part, path, where)
        document.lines[path] = where
        if depth == len(parts) - 1:
            target[slot] = value
            # what stood below the key is gone with its lines
            for stale in [p for p in document.lines if p[: len(path)] == path]:
                document.lines[stale] = where
            return
        if isinstance(target, dict):
            target.setdefault(slot, {})
        target = target[slot]


def _slot(target: Any, part: str, path: KeyPath, where: str) -> tuple[Any, KeyPath]:
    """The key or list position that one part of a dotted key names; lists know their items' names."""
    if isinstance(target, dict):
        return part, (*path, part)
    if isinstance(target, list):
        names = [item.get("name", "") if isinstance(item, dict) else "" for item in target]
        if part in names:
            return names.index(part), (*path, names.index(part))
        if part.isdecimal() and int(part) < len(target):
            return int(part), (*path, int(part))
        known = ", ".join(str(name) for name in names if name) or f"0 to {len(target) - 1}"
        raise RecipeError(
            f"{part!r} is not in the list {_dotted(path)}", expected=f"one of {known}", where=where
        )
    raise RecipeError(
        f"{_dotted(path)} is a single value, so {part!r} cannot be set below it",
        where=where,
        advice=f"replace the whole, as in --set '{_dotted(path)}={{kind: ..., {part}: ...}}'",
    )


def validate(document: Document, model: type[Model]) -> Model:
    """The document as a model; all faults are reported at once, each with its line."""
    try:
        return model.model_validate_json(_as_json(document.value, document))
    except ValidationError as error:
        known = _all_keys(model)
        faults = [
            _fault(dict(one), document, known)
            for one in error.errors(include_url=False)
            if one["type"] != FOLLOWS_FROM_ANOTHER
        ]
        noun = "fault" if len(faults) == 1 else "faults"
        raise RecipeError(
            f"{len(faults)} {noun} in the recipe {document.source}\n" + "\n".join(faults),
            advice=f"`lensmill schema {document_kind(model)}` prints every key with its bounds",
        ) from error


def document_kind(model: type[BaseModel]) -> str:
    """What `lensmill schema` calls a kind of recipe: `dataset` of DatasetRecipe."""
    return model.__name__.removesuffix("Recipe").lower()


def _as_json(value: Any, document: Document) -> str:
    for path, number in _numbers(value, ()):
        if not math.isfinite(number):
            raise RecipeError(
                f"{_dotted(path)} is {number}", expected="a finite number", where=document.where(path)
            )
    return json.dumps(value)


def _numbers(value: Any, path: KeyPath) -> Iterable[tuple[KeyPath, float]]:
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _numbers(item, (*path, key))
    elif isinstance(value, float):
        yield path, value


def _fault(error: dict[str, Any], document: Document, known: list[str]) -> str:
    names_a_key = error["type"] in ("missing", "extra_forbidden")
    path = _path_in_document(error["loc"], document.value, keep_last=names_a_key)
    message = error["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    if error["type"] == "extra_forbidden":
        near = [key for key in difflib.get_close_matches(str(path[-1]), known, n=2) if key != path[-1]]
        elsewhere = path[-1] in known
        advice = " at this place" if elsewhere else f"; did you mean {near[0]!r}?" if near else ""
        message = f"unknown key{advice}"
    elif error["type"] == "missing":
        message = "missing"
    elif error["type"] == "union_tag_invalid":
        tags = [part for part in error["loc"] if isinstance(part, str) and part not in path]
        who = f"{tags[-1]} takes" if tags else "expected"
        message = f"unknown kind {error['ctx']['tag']!r} at this place; {who} {error['ctx']['expected_tags']}"
    elif not isinstance(error["input"], dict | list):
        message += f" (found {error['input']!r})"
    name = _dotted(path, document.value) or "the recipe"
    return f"  - {name}: {message[0].lower()}{message[1:]}\n      at {document.where(path)}"


def _all_keys(model: type[BaseModel]) -> list[str]:
    schema = model.model_json_schema()
    parts = [schema, *schema.get("$defs", {}).values()]
    return sorted({key for part in parts for key in part.get("properties", {})})


def _path_in_document(loc: KeyPath, value: Any, keep_last: bool) -> KeyPath:
    """pydantic's location without the tags of unions, which stand in no document."""
    path: KeyPath = ()
    for position, part in enumerate(loc):
        missing_key = keep_last and position == len(loc) - 1
        if isinstance(value, dict) and (part in value or missing_key):
            path, value = (*path, part), value.get(part)
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            path, value = (*path, part), value[part]
    return path


def _dotted(path: KeyPath, value: Any = None) -> str:
    """A path as people write it: items of a list by their name where they have one."""
    words = []
    for part in path:
        item = value[part] if isinstance(value, list) and isinstance(part, int) else None
        name = item.get("name") if isinstance(item, dict) else None
        words.append(name if isinstance(name, str) else str(part))
        value = item if item is not None else value.get(part) if isinstance(value, dict) else None
    return ".".join(words)
