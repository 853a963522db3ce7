"""Workers that join when the flow has begun: other versions than the plan's make no shard of it."""

from dataclasses import replace
from socket import gethostname

import pytest

from flows import shards
from flows.generate import Order
from flows.shards import make_shards
from schemas.errors import FlowError, ShardError
from schemas.store import Manifest
from storage import commit, layout
from storage.commit import read_json
from storage.layout import Span


@pytest.fixture
def other_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a worker that was started from another environment."""
    version = shards.version
    monkeypatch.setattr(shards, "version", lambda name: "99.0" if name == "numpy" else version(name))


def _first(order: Order) -> Span:
    return next(iter(layout.spans(order.plan)))


def _is_there(order: Order) -> bool:
    return (order.root / commit.receipt_path(_first(order))).exists()


@pytest.mark.usefixtures("other_numpy")
def test_another_numpy_makes_no_shard(order: Order) -> None:
    with pytest.raises(FlowError) as caught:
        make_shards(order.ticket, [_first(order)])
    wanted = order.plan.provenance.versions["numpy"]
    assert f"{gethostname()} (process" in caught.value.found
    assert caught.value.found.endswith(f"has numpy 99.0, not {wanted}")
    assert "kept" in caught.value.advice
    assert not isinstance(caught.value, ShardError), "which would be tried by others, and come back"
    assert not _is_there(order)


def test_the_same_versions_do(order: Order) -> None:
    make_shards(order.ticket, [_first(order)])
    assert _is_there(order)


@pytest.mark.usefixtures("other_numpy")
def test_a_repair_may_use_other_versions(order: Order, store: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    make_shards(replace(order, mixed=True).ticket, [_first(order)])
    assert _is_there(order)
    # where every byte is compared
    manifest = read_json(store.root / commit.MANIFEST, Manifest)
    exact = replace(store, manifest=manifest)
    (store.root / commit.receipt_path(_first(store))).unlink()
    make_shards(exact.ticket, [_first(store)])
    assert _is_there(store)
    monkeypatch.setattr(Order, "expected", lambda *_: None)
    (store.root / commit.receipt_path(_first(store))).unlink()
    with pytest.raises(FlowError, match=r"numpy 99\.0"):
        make_shards(exact.ticket, [_first(store)])


def test_a_ticket_says_what_a_repair_accepts(order: Order) -> None:
    assert not order.ticket.mixed
    assert replace(order, mixed=True).ticket.mixed
    assert shards.order_of(replace(order, mixed=True).ticket).mixed
