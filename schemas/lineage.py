"""Versions of a data set: the book of a folder of them, and which of them a policy keeps.

Version k of a folder takes the seed SHA-256(base seed, k) mod 2^53 and has a digest of its own. What versions
of the same recipe have in common is the recipe without its seed: their lineage. Numbers run on through all
lineages of a folder and are never given again, so no two versions share a seed.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple, Self

from pydantic import AwareDatetime, Field, model_validator

from schemas.dataset import DatasetRecipe
from schemas.frozen import Frozen, canonical_json, sha256_of
from schemas.store import Digest

# A version's path through life. `left`: it cannot be finished, as recipe or packages are others now, or as
# one of its samples cannot be made.
State = Literal["unfinished", "sealed", "good", "leaks", "damaged", "left", "removing", "removed"]
FAILED: tuple[State, ...] = ("leaks", "damaged", "left")
# Stores that training may use: verified and audited, or made before there was a book.
USABLE: tuple[State, ...] = ("good", "sealed")


class Keep(Frozen):
    """Which versions stay. Weeks and months without a version do not count, so a pause removes nothing."""

    last: int = Field(default=7, ge=1, le=10_000, description="the newest usable versions")
    weeks: int = Field(default=4, ge=0, le=1_000, description="the newest version of each of the last weeks")
    months: int = Field(
        default=6, ge=0, le=1_000, description="the newest version of each of the last months"
    )
    failed: int = Field(default=2, ge=0, le=1_000, description="the newest versions that may not be used")
    own_runs: bool = Field(
        default=True,
        description="whether runs that the regeneration itself trained keep their version, as all others do",
    )

    def __str__(self) -> str:
        return (
            f"the last {self.last}, one a week for {self.weeks} weeks, one a month for {self.months} months,"
            f" the last {self.failed} that failed"
        )


class Version(Frozen):
    """One version of a folder, and what became of it."""

    number: int = Field(ge=1)
    lineage: Digest = Field(description="of the recipe without its seed")
    recipe: str = Field(description="name of the recipe")
    seed: int = Field(ge=0, lt=2**53)
    digest: Digest = Field(description="of the recipe with the seed of this version")
    state: State
    reason: str = Field(default="", description="why it may not be used, or was removed")
    began: AwareDatetime | None = None
    made: AwareDatetime | None = Field(default=None, description="when it was sealed")
    verified: AwareDatetime | None = Field(default=None, description="when it was last found sound")
    audit: Literal["passed", "leaks"] | None = Field(default=None, description="None: not audited")
    rows: int = Field(default=0, ge=0)
    bytes: int = Field(default=0, ge=0, description="of the arrays; 0 where it is unfinished or removed")
    packages: dict[str, str] = Field(default={}, description="package versions that made it")


class Lineage(Frozen):
    """A recipe without its seed, and the seed that its versions' seeds were last taken from."""

    digest: Digest
    recipe: str = Field(description="name of the recipe")
    base_seed: int = Field(ge=0, lt=2**53)
    base_digest: Digest = Field(description="of the recipe with the base seed")
    first: int = Field(ge=1, description="number of its first version")


class VersionBook(Frozen):
    """`lineage.json`: what is known of the versions of a folder."""

    format_version: Literal[1] = 1
    keep: tuple[int, ...] = Field(default=(), description="numbers of versions that never go: edit at will")
    policy: Keep = Field(default=Keep(), description="as last applied")
    runs: tuple[str, ...] = Field(default=(), description="folders of runs that were last looked through")
    lineages: tuple[Lineage, ...] = ()
    versions: tuple[Version, ...] = ()

    @model_validator(mode="after")
    def _numbers_differ(self) -> Self:
        numbers = [one.number for one in self.versions]
        if len(set(numbers)) < len(numbers):
            raise ValueError("two versions have the same number")
        return self

    def find(self, number: int | None) -> Version | None:
        """The version of a number."""
        return next((one for one in self.versions if one.number == number), None)

    @property
    def newest(self) -> int:
        """The highest number ever given; 0 where there is none."""
        return max((one.number for one in self.versions), default=0)

    @property
    def there(self) -> tuple[Version, ...]:
        """Versions that were not removed, the newest first."""
        return tuple(reversed([one for one in self.versions if one.state != "removed"]))

    def having(self, version: Version) -> "VersionBook":
        """The book with this version in place of the one of its number."""
        others = [one for one in self.versions if one.number != version.number]
        ordered = sorted([*others, version], key=lambda one: one.number)
        return self.model_copy(update={"versions": tuple(ordered)})

    def of_recipe(self, recipe: DatasetRecipe) -> "VersionBook":
        """The book with the lineage of this recipe, which the next version belongs to."""
        digest = lineage_digest(recipe)
        before = next((one for one in self.lineages if one.digest == digest), None)
        now = Lineage(
            digest=digest,
            recipe=recipe.name,
            base_seed=recipe.seed,
            base_digest=recipe.digest,
            first=before.first if before else self.newest + 1,
        )
        others = [one for one in self.lineages if one.digest != digest]
        return self.model_copy(update={"lineages": (*others, now)})


class Verdict(NamedTuple):
    """What the policy says of a version."""

    kept: bool
    why: str


def version_seed(base: int, number: int) -> int:
    """The seed of a version: far from the base seed and from every other version's."""
    digest = hashlib.sha256(f"{base},{number}".encode()).digest()
    return int.from_bytes(digest) % 2**53


def lineage_digest(recipe: DatasetRecipe) -> str:
    """The identity of a recipe whatever its seed, which any of its versions tells."""
    return lineage_of_physics(recipe.physics_json)


def lineage_of_physics(physics: str) -> str:
    """The same of the canonical JSON that a store keeps."""
    content = json.loads(physics)
    return sha256_of(canonical_json({key: value for key, value in content.items() if key != "seed"}))


def verdicts(
    book: VersionBook, keep: Keep, latest: int | None, referred: Mapping[str, str]
) -> dict[int, Verdict]:
    """Whether each version that is there stays, and why; `referred` names a run by the digest of its data."""
    reasons: dict[int, str] = {}

    def stays(versions: Iterable[Version], why: str) -> None:
        for one in versions:
            reasons.setdefault(one.number, why)

    stays((one for one in book.there if one.number == latest), "latest names it")
    stays((one for one in book.there if one.number in book.keep), "pinned")
    for one in book.there:
        if one.digest in referred:
            reasons.setdefault(one.number, f"{referred[one.digest]} refers to it")
    stays((one for one in book.there if one.state == "unfinished"), "unfinished")
    usable = [one for one in book.there if one.state in USABLE]
    for lineage in {one.lineage for one in usable}:
        mine = [one for one in usable if one.lineage == lineage]
        verified = [one for one in mine if one.verified] or mine
        stays(verified[:1], "newest of its lineage")
    stays(usable[: keep.last], f"one of the last {keep.last}")
    stays(_newest_of_each(usable, keep.weeks, "%G-W%V"), "newest of its week")
    stays(_newest_of_each(usable, keep.months, "%Y-%m"), "newest of its month")
    failed = [one for one in book.there if one.state in FAILED]
    stays(failed[: keep.failed], f"one of the last {keep.failed} that failed")
    return {one.number: _verdict(one, reasons.get(one.number)) for one in book.there}


def _verdict(version: Version, why: str | None) -> Verdict:
    if version.state == "removing":
        return Verdict(False, "removal was begun")
    return Verdict(True, why) if why else Verdict(False, "no rule keeps it")


def _newest_of_each(versions: list[Version], periods: int, pattern: str) -> list[Version]:
    """The newest version of each of the last periods that have one; versions come newest first."""
    found: dict[str, Version] = {}
    for one in versions:
        if one.made:
            found.setdefault(one.made.strftime(pattern), one)
    return list(found.values())[:periods]
