"""Versions of a data set: what they have in common, and which of them a policy keeps."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from flows.catalogue import load_recipe
from schemas.lineage import (
    Keep,
    Version,
    VersionBook,
    lineage_digest,
    lineage_of_physics,
    verdicts,
    version_seed,
)

ONE, OTHER = "a" * 64, "b" * 64
# a Sunday, so that weeks and months are easily counted
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def _version(number: int, days_ago: float, **more: Any) -> Version:
    made = NOON - timedelta(days=days_ago)
    values = {
        "number": number,
        "lineage": ONE,
        "recipe": "tiny",
        "seed": number,
        "digest": f"{number:064d}",
        "state": "good",
        "made": made,
        "verified": made,
    }
    return Version.model_validate(values | more)


def _nightly(count: int) -> VersionBook:
    """One version a day, the newest of today."""
    versions = [_version(number, count - number) for number in range(1, count + 1)]
    return VersionBook(versions=tuple(versions))


def _kept(book: VersionBook, keep: Keep, latest: int | None = None, **referred: str) -> list[int]:
    found = verdicts(book, keep, latest, {f"{int(key[1:]):064d}": run for key, run in referred.items()})
    assert found.keys() == {one.number for one in book.there}
    return sorted(number for number, one in found.items() if one.kept)


NOTHING = Keep(last=1, weeks=0, months=0, failed=0)


def test_the_last_stay() -> None:
    assert _kept(_nightly(10), Keep(last=3, weeks=0, months=0)) == [8, 9, 10]
    assert _kept(_nightly(2), Keep(last=3, weeks=0, months=0)) == [1, 2]
    assert _kept(VersionBook(), Keep()) == []


def test_one_of_each_week_and_month_stays() -> None:
    book = _nightly(100)
    # today is a Sunday: weeks end with numbers 100, 93, 86...
    assert _kept(book, Keep(last=1, weeks=3, months=0)) == [86, 93, 100]
    # October ended 22 days ago, September 53, August 83
    assert _kept(book, Keep(last=1, weeks=0, months=4)) == [17, 47, 78, 100]
    assert len(_kept(book, Keep())) == 7 + 3 + 3


def test_what_a_week_keeps_stays_as_days_go_by() -> None:
    """Applied every night, the policy keeps what it keeps when applied once: no week loses its version."""
    keep, versions = Keep(last=2, weeks=3, months=2), []
    for number in range(1, 101):
        versions = [*versions, _version(number, 100 - number)]
        kept = _kept(VersionBook(versions=tuple(versions)), keep)
        versions = [one for one in versions if one.number in kept]
    assert [one.number for one in versions] == _kept(_nightly(100), keep)


def test_a_pause_removes_nothing() -> None:
    old = [_version(number, 900 - number) for number in range(1, 8)]
    before = _kept(VersionBook(versions=tuple(old)), Keep(last=1, weeks=2, months=1))
    again = VersionBook(versions=(*(one for one in old if one.number in before), _version(8, 0)))
    assert set(_kept(again, Keep(last=1, weeks=2, months=2))) >= {8, before[-1]}


def test_what_latest_names_and_what_runs_refer_to_stays() -> None:
    assert _kept(_nightly(9), NOTHING, latest=4, n2="runs/a") == [2, 4, 9]
    found = verdicts(_nightly(9), NOTHING, 4, {f"{2:064d}": "runs/a"})
    assert found[2].why == "runs/a refers to it"
    assert not found[1].kept


def test_what_is_pinned_stays() -> None:
    book = _nightly(9).model_copy(update={"keep": (1, 3)})
    assert _kept(book, NOTHING) == [1, 3, 9]


def test_the_newest_verified_one_of_each_lineage_stays() -> None:
    old = [_version(1, 9, lineage=OTHER), _version(2, 8, lineage=OTHER)]
    # verified means more than newer
    new = [_version(3, 7), _version(4, 6, verified=None, state="sealed")]
    assert _kept(VersionBook(versions=(*old, *new)), NOTHING) == [2, 3, 4]


def test_versions_that_failed_are_counted_apart() -> None:
    failed = [_version(n, 20 - n, state=state) for n, state in ((1, "leaks"), (2, "damaged"), (3, "left"))]
    book = VersionBook(versions=(*failed, _version(4, 0)))
    assert _kept(book, Keep(last=1, weeks=0, months=0, failed=2)) == [2, 3, 4]
    assert _kept(book, NOTHING) == [4]


def test_what_is_being_made_stays_and_what_is_being_removed_goes() -> None:
    book = VersionBook(
        versions=(_version(1, 3, state="removing"), _version(2, 2), _version(3, 0, state="unfinished"))
    )
    assert _kept(book, Keep(failed=9)) == [2, 3]
    gone = book.having(_version(1, 3, state="removed"))
    assert [one.number for one in gone.there] == [3, 2]
    assert gone.newest == 3


def test_a_book_that_says_a_number_twice_is_none() -> None:
    with pytest.raises(ValidationError, match="the same number"):
        VersionBook(versions=(_version(1, 0), _version(1, 0)))
    book = _nightly(2)
    assert VersionBook.model_validate_json(book.to_json()) == book


def test_a_lineage_is_the_recipe_without_its_seed() -> None:
    recipe = load_recipe("tiny")
    other = load_recipe("tiny", [f"seed={version_seed(recipe.seed, 3)}"])
    assert recipe.digest != other.digest
    assert lineage_digest(recipe) == lineage_digest(other) == lineage_of_physics(other.physics_json)
    changed = load_recipe("tiny", ["main_lens.theta_E.low=0.71"])
    assert lineage_digest(changed) != lineage_digest(recipe)
    # how it is written is no part of it
    assert lineage_digest(load_recipe("tiny", ["storage.profile=archive"])) == lineage_digest(recipe)


def test_a_lineage_keeps_its_first_number() -> None:
    recipe, book = load_recipe("tiny"), _nightly(2)
    begun = book.of_recipe(recipe)
    assert [(one.first, one.base_seed) for one in begun.lineages] == [(3, 1001)]
    again = begun.having(_version(3, 0)).of_recipe(load_recipe("tiny", ["seed=5"]))
    assert [(one.first, one.base_seed) for one in again.lineages] == [(3, 5)]
    both = again.of_recipe(load_recipe("tiny", ["main_lens.theta_E.low=0.71"]))
    assert [one.first for one in both.lineages] == [3, 4]
