"""What can still be read of a store's books, and recipe and plan as they were.

Nothing but a copy replaces a recipe; but the manifest has its SHA-256, by which a single flipped bit can be
found and turned back. So can one in the plan, which follows from the recipe besides: every receipt has its
digest.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError

from schemas.dataset import DatasetRecipe
from schemas.errors import LensmillError, StoreDamagedError
from schemas.frozen import sha256_of
from schemas.imported import ImportedData
from schemas.store import CommitMarker, Manifest, Provenance, Receipt, StoredRecipe, StorePlan, plan_store
from schemas.store_schema import schema_text
from storage.commit import MANIFEST, MARKER, PLAN, RECEIPTS, RECIPE, SCHEMA, read_json
from storage.files.place import Root
from storage.layout import split_rows
from storage.migrations import migrate

Model = TypeVar("Model", bound=BaseModel)
# finding a bit takes a second for 20 kB, and four times as long for twice as much
MOST_BYTES = 100_000
MOST_SHARD_ROWS = 1 << 24
TURNED_BACK = "one flipped bit was turned back"


class Book(NamedTuple):
    """A book as it should be."""

    content: bytes
    how: str
    """where it was taken from; empty when it is as it was found"""


@dataclass(frozen=True)
class Evidence:
    """The books that can be read; those that cannot are None or left out."""

    root: Root
    manifest: Manifest | None
    manifest_bytes: bytes
    marker: CommitMarker | None
    marker_bytes: bytes
    receipts: tuple[Receipt, ...]

    @property
    def sealed(self) -> bool:
        """Whether the manifest is the one that the marker seals, so that it can be trusted in everything."""
        return self.manifest is not None and self.seals(self.manifest_bytes)

    def seals(self, manifest: bytes) -> bool:
        """Whether the marker is of this manifest."""
        return self.marker is not None and self.marker.manifest_sha256 == sha256_of(manifest)

    @property
    def plan_sums(self) -> set[str]:
        """What the SHA-256 of the plan can be."""
        said = {self.manifest.plan_digest} if self.manifest else set()
        return said if self.sealed else said | {one.plan_digest for one in self.receipts}

    @property
    def recipe_digests(self) -> set[str]:
        """What the digest of the recipe can be."""
        said = {self.manifest.recipe_digest} if self.manifest else set()
        return said if self.sealed else said | {one.recipe_digest for one in self.receipts}


def gather(root: Root) -> Evidence:
    """Read marker, manifest and receipts as far as they can be read."""
    paths: list[Root] = sorted((root / RECEIPTS).rglob("*.json"), key=str)
    receipts = [_read(path, Receipt) for path in paths]
    return Evidence(
        root,
        _read(root / MANIFEST, Manifest),
        _bytes(root / MANIFEST),
        _read(root / MARKER, CommitMarker),
        _bytes(root / MARKER),
        tuple(one for one in receipts if one),
    )


def _read(path: Root, model: type[Model]) -> Model | None:
    try:
        return read_json(path, model)
    except LensmillError:
        return None


def _bytes(path: Root) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def book_of(content: bytes, model: type[Model]) -> Model:
    """A book by what it says, whatever version wrote it."""
    return model.model_validate_json(json.dumps(migrate(model, json.loads(content))))


def sound_recipe(evidence: Evidence) -> Book:
    """The recipe as it was sealed; of an unsealed store, one that agrees with itself and the receipts."""
    content = _bytes(evidence.root / RECIPE)
    wanted = {evidence.manifest.recipe_sha256} if evidence.manifest else set()
    if sha256_of(content) in wanted:
        return Book(content, "")
    if turned := turned_back(content, wanted):
        return Book(turned, TURNED_BACK)
    found = _read(evidence.root / RECIPE, StoredRecipe)
    known = evidence.recipe_digests or ({found.digest} if found else set())
    if found and not evidence.sealed and found.digest == found.recipe.digest and found.digest in known:
        return Book(content, "")
    raise _lost(
        evidence.root / RECIPE, wanted, "the `lensmill simulate` command that made the store also writes it"
    )


def sound_plan(evidence: Evidence, recipe: StoredRecipe) -> Book:
    """The plan as the receipts know it."""
    content, wanted = _bytes(evidence.root / PLAN), evidence.plan_sums
    if sha256_of(content) in wanted:
        return Book(content, "")
    if not wanted and _read(evidence.root / PLAN, StorePlan):
        return Book(content, "")
    if turned := turned_back(content, wanted):
        return Book(turned, TURNED_BACK)
    for candidate in _plans(evidence.root, recipe):
        if sha256_of(candidate) in wanted:
            return Book(candidate, "made again from the recipe")
    raise _lost(evidence.root / PLAN, wanted, "or make the store anew")


def sound_schema(evidence: Evidence, plan: StorePlan) -> Book | None:
    """The JSON Schema beside the books: as it was, or as the plan says; None in stores without one."""
    manifest, content = evidence.manifest, _bytes(evidence.root / SCHEMA)
    if manifest and manifest.schema_sha256 is None:
        return None
    wanted = {manifest.schema_sha256} if manifest and manifest.schema_sha256 else set()
    made = schema_text(plan)
    if sha256_of(content) in wanted or content == made:
        return Book(content, "")
    if wanted and sha256_of(made) not in wanted and (turned := turned_back(content, wanted)):
        return Book(turned, TURNED_BACK)
    return Book(made, "from the plan")


def turned_back(content: bytes, wanted: set[str]) -> bytes | None:
    """The content with one bit turned, if it then has one of these SHA-256 sums."""
    if not wanted or len(content) > MOST_BYTES:
        return None
    before = hashlib.sha256()
    for position, byte in enumerate(content):
        rest = content[position + 1 :]
        for bit in range(8):
            trial = before.copy()
            trial.update(bytes((byte ^ 1 << bit,)) + rest)
            if trial.hexdigest() in wanted:
                return content[:position] + bytes((byte ^ 1 << bit,)) + rest
        before.update(content[position : position + 1])
    return None


def _plans(root: Root, recipe: StoredRecipe) -> Iterator[bytes]:
    """Plans that the recipe can have had, with the provenance that the group's metadata tell."""
    if not isinstance(recipe.recipe, DatasetRecipe):
        return
    try:
        about = json.loads(_bytes(root / "zarr.json"))["attributes"]["provenance"]
        provenance = Provenance.model_validate_json(json.dumps(about))
    except (ValueError, KeyError, TypeError, ValidationError):
        return
    if isinstance(recipe.recipe, ImportedData):
        return
    rows, shard_rows = split_rows(recipe.recipe), 1
    while shard_rows <= MOST_SHARD_ROWS:
        yield plan_store(recipe.recipe, rows, shard_rows, provenance).to_json().encode()
        shard_rows *= 2


def _lost(path: Root, wanted: set[str], otherwise: str) -> StoreDamagedError:
    known = f"a file with SHA-256 {' or '.join(sorted(wanted))}" if wanted else "the file as it was written"
    return StoreDamagedError(
        f"{path} is lost or damaged, and nothing else in the store determines it",
        expected=known,
        advice=f"restore a copy and compare it by `sha256sum`; {otherwise}",
    )
