"""What a worker does with the shards it is given: what it reads, keeps, makes again and refuses."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flows import shards
from flows.generate import Order
from flows.shards import make_shard, make_shards, order_of
from schemas.dataset import DatasetRecipe
from schemas.errors import StoreConflictError
from schemas.store import Manifest, Receipt, StorePlan
from storage import commit, layout
from storage.commit import read_json
from storage.files.place import Root
from storage.layout import Span


def test_a_worker_reads_recipe_and_plan_from_the_store(order: Order) -> None:
    found = order_of(order.ticket)
    assert (found.recipe, found.plan) == (order.recipe, order.plan)
    assert order_of(order.ticket) is found, "read once"
    assert len(str(order.ticket)) < 1000, "what is sent with every shard is small"


def test_a_store_that_changed_under_a_worker_is_refused(order: Order) -> None:
    ticket = replace(order.ticket, recipe_digest="0" * 64)
    with pytest.raises(StoreConflictError, match=f"has recipe {order.recipe.digest}"):
        make_shards(ticket, [next(layout.spans(order.plan))])


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Span]:
    """The shards that were made, in their order."""
    found: list[Span] = []

    def noted(root: Root, recipe: DatasetRecipe, plan: StorePlan, span: Span, *more: Any) -> Receipt:
        found.append(span)
        return make_shard(root, recipe, plan, span, *more)

    monkeypatch.setattr(shards, "make_shard", noted)
    return found


def test_what_a_worker_made_before_it_died_is_not_made_again(order: Order, made: list[Span]) -> None:
    first, second, third = list(layout.spans(order.plan))[:3]
    make_shards(order.ticket, [first, second])
    # a machine that went down as well
    damaged = order.root / read_json(order.root / commit.receipt_path(second), Receipt).files[0].path
    damaged.write_bytes(b"")
    make_shards(order.ticket, [first, second, third])
    assert made == [first, second, second, third]


def test_only_sha_256_vouches_for_what_a_dead_worker_made(order: Order, made: list[Span]) -> None:
    span = next(layout.spans(order.plan))
    make_shards(order.ticket, [span])
    path = order.root / commit.receipt_path(span)
    right = path.read_bytes()
    file = read_json(path, Receipt).files[0]
    path.write_bytes(right.replace(file.sha256.encode(), b"0" * 64))
    make_shards(order.ticket, [span])
    assert made == [span, span]
    assert path.read_bytes() == right


def test_a_repair_keeps_no_shard_but_the_one_that_was_sealed(
    sound_store: Order, tmp_path: Path, made: list[Span]
) -> None:
    root = tmp_path / "repaired.zarr"
    shutil.copytree(sound_store.root, root)
    order = replace(sound_store, root=root, manifest=read_json(root / commit.MANIFEST, Manifest))
    kept, other, *_ = layout.spans(order.plan)
    path = root / commit.receipt_path(other)
    sealed = path.read_bytes()
    # sound files and a sound receipt, of a worker with other packages
    odd = read_json(path, Receipt).model_copy(update={"versions": {"numpy": "1.0"}})
    path.write_text(odd.model_dump_json())
    make_shards(order.ticket, [kept, other])
    assert made == [other]
    assert path.read_bytes() == sealed


def test_rendering_and_writing_go_hand_in_hand(order: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    locked: list[tuple[str, bool]] = []
    render, write = shards.render, shards.write_shard

    def rendering(*arguments: Any) -> Any:
        locked.append(("render", shards.RENDERING.locked()))
        return render(*arguments)

    def writing(*arguments: Any, **options: Any) -> Any:
        locked.append(("write", shards.RENDERING.locked()))
        return write(*arguments, **options)

    monkeypatch.setattr(shards, "render", rendering)
    monkeypatch.setattr(shards, "write_shard", writing)
    make_shard(order.root, order.recipe, order.plan, next(layout.spans(order.plan)))
    assert locked == [("render", True), ("write", False)]
