"""Shards that fail: the others are made, the guilty are named, and what all share ends it at once."""

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from distributed import Client, LocalCluster
from distributed.scheduler import KilledWorker

from flows import shards, suspects, tally
from flows.generate import Order
from flows.making import completed
from flows.shards import make_shard
from flows.suspects import MOST_CULPRITS, MOST_FAILURES, Suspects, _alone, _together, _verdict
from flows.tally import Tally
from schemas.errors import FlowError, LensmillError, SampleError, ShardError
from storage import commit, layout
from storage.layout import Span


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """A cluster of threads in this process."""
    options: dict[str, Any] = {"dashboard_address": "127.0.0.1:0", "silence_logs": logging.CRITICAL}
    with (
        LocalCluster(n_workers=1, threads_per_worker=2, processes=False, **options) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


@pytest.fixture(autouse=True)
def _no_prefect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally, "create_progress_artifact", lambda **_: None)
    monkeypatch.setattr(tally, "update_progress_artifact", lambda *_, **__: None)
    monkeypatch.setattr(suspects, "task", lambda **_: lambda function: function)


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Callable[[Sequence[Span]], list[Span]]:
    """Have some shards fail; tells which were tried."""

    def fail(culprits: Sequence[Span]) -> list[Span]:
        tried: list[Span] = []

        def make(root: Any, recipe: Any, plan: Any, span: Span, *more: Any) -> Any:
            tried.append(span)
            if span in culprits:
                raise ZeroDivisionError("division by zero")
            return make_shard(root, recipe, plan, span, *more)

        monkeypatch.setattr(shards, "make_shard", make)
        return tried

    return fail


def _make(client: Client, order: Order) -> Tally:
    """As the mapped form does, and then what failed once more."""
    spans, guilty = list(layout.spans(order.plan)), Suspects()
    with Tally(order, spans, lambda _: None) as seen:
        for made in completed(client, order.ticket, spans, guilty):
            seen.arrived(made)
        suspects.try_alone(client, order.ticket, guilty, seen)
    return seen


def _present(order: Order) -> set[Span]:
    return {span for span in layout.spans(order.plan) if (order.root / commit.receipt_path(span)).exists()}


def test_the_shard_that_fails_is_named_and_all_others_are_made(
    client: Client, order: Order, broken: Callable[[Sequence[Span]], list[Span]]
) -> None:
    spans = list(layout.spans(order.plan))
    tried = broken([spans[3]])
    with pytest.raises(ShardError) as caught:
        _make(client, order)
    assert caught.value.found == (
        "1 shard could not be made: shard 3 of train failed: ZeroDivisionError: division by zero"
    )
    assert caught.value.where == str(order.root)
    assert "kept" in caught.value.advice
    assert _present(order) == set(spans) - {spans[3]}
    assert tried.count(spans[3]) == 2, "once with others, once alone"


def test_two_shards_that_fail_are_both_named(
    client: Client, order: Order, broken: Callable[[Sequence[Span]], list[Span]]
) -> None:
    spans = list(layout.spans(order.plan))
    broken([spans[1], spans[7]])
    with pytest.raises(ShardError, match="2 shards could not be made") as caught:
        _make(client, order)
    lines = caught.value.found.splitlines()
    assert [line.split(" failed")[0] for line in lines[1:]] == [f"  - {spans[1]}", f"  - {spans[7]}"]
    assert len(_present(order)) == len(spans) - 2


def test_what_fails_everywhere_is_not_tried_to_the_end(
    client: Client, order: Order, broken: Callable[[Sequence[Span]], list[Span]]
) -> None:
    many = [Span("train", number, 8 * number, 8) for number in range(300)]
    tried, guilty = broken(many), Suspects()
    with Tally(order, many, lambda _: None) as seen:
        assert list(completed(client, order.ticket, many, guilty)) == []
        assert guilty.too_many
        assert len(tried) < 2 * MOST_FAILURES
        before = len(tried)
        with pytest.raises(ShardError, match=f"{MOST_CULPRITS} shards could not be made") as caught:
            suspects.try_alone(client, order.ticket, guilty, seen)
    assert len(tried) == before + MOST_CULPRITS
    assert f"{300 - MOST_CULPRITS} more were not tried" in caught.value.found


class GivenUp:
    """Work that Dask gave up because each of its workers died."""

    def result(self) -> float:
        """As Dask raises it."""
        raise KilledWorker("make shards", None, 3)


def test_the_innocent_of_a_batch_that_was_given_up_are_made(client: Client, order: Order) -> None:
    spans, guilty = list(layout.spans(order.plan)), Suspects()
    make_shard(order.root, order.recipe, order.plan, spans[0])
    assert guilty.result_of(GivenUp(), "a batch", spans) is None
    with Tally(order, spans, lambda _: None) as seen:
        suspects.try_alone(client, order.ticket, guilty, seen)
        assert set(seen.receipts()) == set(spans)


def test_a_batch_that_failed_is_no_error_of_its_own(client: Client, order: Order) -> None:
    guilty = Suspects()
    guilty.result_of(GivenUp(), "a batch", [])
    with Tally(order, [], lambda _: None) as seen:
        assert list(_alone(client, order.ticket, guilty.spans, seen)) == []


def test_work_that_only_fails_together_is_told(order: Order) -> None:
    guilty = Suspects()
    guilty.failures = MOST_FAILURES
    spans = list(layout.spans(order.plan))
    with Tally(order, spans, lambda _: None) as seen:
        told = _together(guilty, seen, order.ticket)
        assert f"{len(spans)} shards were not tried" in told.found
        assert "--workers 1" in told.advice
        # advice of a worker that died is kept
        verdict = _verdict([ShardError("a", advice="mend it")], seen, order.ticket)
    assert verdict.advice == "mend it"
    assert isinstance(verdict, FlowError)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ZeroDivisionError("x"), SampleError),
        (ValueError("x"), SampleError),
        (MemoryError("x"), ShardError),
        (OSError(5, "x"), ShardError),
        (ImportError("x"), ShardError),
    ],
)
def test_what_the_simulator_raises_is_told_from_what_a_machine_lacks(
    order: Order, monkeypatch: pytest.MonkeyPatch, error: Exception, kind: type[LensmillError]
) -> None:
    first = next(iter(layout.spans(order.plan)))

    def fail(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(shards, "render", fail)
    with pytest.raises(ShardError, match=f"{first} failed: {type(error).__name__}") as caught:
        shards.make_shards(order.ticket, [first])
    assert type(caught.value) is kind


def test_one_sample_that_cannot_be_made_is_the_verdict(
    client: Client, order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    culprit = list(layout.spans(order.plan))[3]
    render, bad = shards.render, layout.sample_ids(order.recipe, culprit).tolist()

    def fail(recipe: Any, samples: Any, galaxies: Any) -> Any:
        if samples.tolist() == bad:
            raise ZeroDivisionError("division by zero")
        return render(recipe, samples, galaxies)

    monkeypatch.setattr(shards, "render", fail)
    with pytest.raises(SampleError, match=f"1 shard could not be made: {culprit} failed"):
        _make(client, order)


def test_what_fails_everywhere_is_no_samples_fault(order: Order) -> None:
    guilty, culprits = Suspects(), [ShardError("a"), SampleError("b")]
    assert suspects._kind(culprits, guilty) is SampleError
    assert suspects._kind(culprits[:1], guilty) is ShardError
    guilty.failures = MOST_FAILURES
    assert suspects._kind(culprits, guilty) is ShardError
