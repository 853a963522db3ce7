"""Damaged files: bits, lengths, places and books, found by whoever should find them, and repaired."""

import json
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.fault_stores import Outcome, Workplace, content, same
from flows import repair as repairing
from flows.generate import Order
from flows.repair import repair
from flows.shards import make_shard
from schemas.errors import LensmillError
from schemas.store import Receipt
from storage import commit, layout
from storage.layout import Span
from storage.reader import open_store
from storage.verify import verify

Damage = Callable[[Path], None]


def found_by_verify(root: Path) -> bool:
    """Whether verify reports or refuses the store."""
    try:
        return not verify(root).sound
    except LensmillError:
        return True


def found_by_reader(root: Path) -> bool:
    """Whether a reader that is asked to check refuses the store while it reads everything."""
    try:
        store = open_store(root, check=True)
        for split in store.plan.splits:
            for spec in store.plan.decoded:
                store.read(split.name, spec.name)
    except LensmillError:
        return True
    return False


@contextmanager
def made_here() -> Iterator[None]:
    """Repair without Prefect and Dask, which have their own trials: they take seconds to start."""

    def make(order: Order, spans: Sequence[Span], *_: Any) -> dict[Span, Receipt]:
        return {
            span: make_shard(order.root, order.recipe, order.plan, span, order.expected(span))
            for span in spans
        }

    before, repairing._make = repairing._make, make
    try:
        yield
    finally:
        repairing._make = before


def repaired(order: Order, sound: Order) -> bool:
    """Whether repair makes the store what it was, byte for byte."""
    with made_here():
        return repair(order.root, quiet=True).sound and same(order, sound)


def flip(path: Path, rng: random.Random) -> None:
    """One bit anywhere."""
    found = bytearray(path.read_bytes())
    found[rng.randrange(len(found))] ^= 1 << rng.randrange(8)
    path.write_bytes(found)


def flipped_bits(place: Workplace, tries: int, rng: random.Random) -> list[Outcome]:
    """Every file of a store once, then files at random; each found and mended before the next."""
    files = list(content(place.two.root))
    chosen = [*files, *(rng.choice(files) for _ in range(tries - len(files)))][:tries]
    order = place.copy(place.two, "bits.zarr")
    held = {"verify": 0, "reader": 0, "repair": 0}
    for path in chosen:
        flip(order.root / path, rng)
        held["verify"] += found_by_verify(order.root)
        held["reader"] += found_by_reader(order.root)
        if repaired(order, place.two):
            held["repair"] += 1
        else:
            order = place.copy(place.two, "bits.zarr")
    of = f"a flipped bit, {len(files)} files of a store with all products once each, the rest at random"
    return [
        Outcome(of, tries, held["verify"], "found by `verify`"),
        Outcome("the same", tries, held["reader"], "found by `open_store(root, check=True)`"),
        Outcome("the same", tries, held["repair"], "`repair` restores every byte"),
    ]


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def damaged_files(place: Workplace, tries: int, rng: random.Random) -> list[Outcome]:
    """Files of shards that lost bytes or themselves."""
    outcomes = []
    damages: dict[str, Damage] = {
        "a truncated file of a shard": _truncate,
        "an empty one": _empty,
        "a missing one": Path.unlink,
    }
    for event, damage in damages.items():
        held = 0
        for _ in range(tries):
            order = place.copy(place.small, "files.zarr")
            damage(order.root / rng.choice(_shard_files(order)))
            held += found_by_verify(order.root) and repaired(order, place.small)
        outcomes.append(Outcome(event, tries, held, "found by `verify`; `repair` restores every byte"))
    return outcomes


def _shard_files(order: Order) -> list[str]:
    manifest = open_store(order.root).manifest
    return [record.path for receipt in manifest.receipts for record in receipt.files]


def swapped_shards(place: Workplace, tries: int, rng: random.Random) -> list[Outcome]:
    """Two files of the same size and crc32c in each other's place; with and without their receipts."""
    held = 0
    spans = [span for span in layout.spans(place.small.plan) if span.split == "train" and span.rows == 8]
    for trial in range(tries):
        order = place.copy(place.small, "swapped.zarr")
        one, other = rng.sample(spans, 2)
        pairs = [(_files_of(order, one), _files_of(order, other))]
        for mine, theirs in zip(*pairs[0], strict=True):
            _swap(order.root / mine, order.root / theirs)
        if trial % 2:
            _swap(order.root / commit.receipt_path(one), order.root / commit.receipt_path(other))
        held += found_by_verify(order.root) and repaired(order, place.small)
    return [Outcome("two swapped shards", tries, held, "found by `verify`; `repair` restores every byte")]


def _files_of(order: Order, span: Span) -> list[str]:
    receipt = commit.read_json(order.root / commit.receipt_path(span), Receipt)
    return [record.path for record in receipt.files]


def _swap(one: Path, other: Path) -> None:
    mine, theirs = one.read_bytes(), other.read_bytes()
    one.write_bytes(theirs)
    other.write_bytes(mine)


ALTERED: dict[str, tuple[Path, Callable[[Any], Any]]] = {
    "a shard less in the manifest": (commit.MANIFEST, lambda one: one["receipts"].pop()),
    "another sum in the manifest": (
        commit.MANIFEST,
        lambda one: one["receipts"][0]["files"][0].update(sha256="0" * 64),
    ),
    "another seal in the marker": (commit.MARKER, lambda one: one.update(manifest_sha256="0" * 64)),
    "another digest in the marker": (commit.MARKER, lambda one: one.update(recipe_digest="0" * 64)),
    "other rows in a receipt": (commit.RECEIPTS / "train/000001.json", lambda one: one.update(rows=7)),
    "another sum in a receipt": (
        commit.RECEIPTS / "test/000000.json",
        lambda one: one["files"][1].update(sha256="0" * 64),
    ),
}


def altered_books(place: Workplace, *_: Any) -> list[Outcome]:
    """Books that are still JSON of the right form, and wrong."""
    held = 0
    for path, change in ALTERED.values():
        order = place.copy(place.small, "books.zarr")
        found = json.loads((order.root / path).read_text())
        change(found)
        (order.root / path).write_text(json.dumps(found))
        held += found_by_verify(order.root) and repaired(order, place.small)
    event = "manifest, marker or receipt altered, still JSON of their form"
    return [Outcome(event, len(ALTERED), held, "found by `verify`; rebuilt from each other, byte for byte")]
