"""Every row once, no rank idle, the same again from the same seed: whatever the numbers are."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.errors import DataError
from storage.reading.epochs import Batching, Epoch, spread

ROWS = np.arange(4096, dtype=np.int64)
plans = st.fixed_dictionaries(
    {
        "batch": st.integers(1, 40),
        "seed": st.integers(0, 2**53 - 1),
        "shuffle": st.booleans(),
        "mixed": st.none() | st.integers(1, 6),
        "last": st.sampled_from(["keep", "drop"]),
        "world": st.integers(1, 5),
    }
)
chosen = st.integers(1, 400).flatmap(
    lambda most: st.sets(st.integers(0, most), min_size=1).map(lambda rows: np.array(sorted(rows), np.int64))
)
shard_sizes = st.integers(1, 64)
numbers = st.integers(0, 2**40)


def _order(epoch: Epoch, start: int = 0) -> list[int]:
    return [row for group in epoch.groups(start) for row in group.rows.tolist()]


def _ranks(fields: dict[str, Any], rows: Any, shard_rows: int, number: int) -> list[Epoch]:
    world, batch = fields["world"], fields["batch"]
    assume(len(rows) >= (world * batch if fields["last"] == "drop" else world))
    return [Epoch(Batching(**fields, rank=rank), rows, shard_rows, number) for rank in range(world)]


@settings(max_examples=150, deadline=None)
@given(plans, chosen, shard_sizes, numbers)
def test_ranks_share_the_rows(fields: dict[str, Any], rows: Any, shard_rows: int, number: int) -> None:
    epochs = _ranks(fields, rows, shard_rows, number)
    orders = [_order(epoch) for epoch in epochs]
    everyone = [row for order in orders for row in order]
    assert len(set(everyone)) == len(everyone)
    assert set(everyone) <= set(rows.tolist())
    assert len({len(order) for order in orders}) == len({len(epoch) for epoch in epochs}) == 1
    left_out, batch, world = len(rows) - len(everyone), fields["batch"], fields["world"]
    if fields["last"] == "keep":
        assert left_out < world
        assert len(epochs[0]) == -(-len(orders[0]) // batch)
    else:
        assert left_out < world * batch
        assert len(orders[0]) == len(epochs[0]) * batch


@settings(max_examples=100, deadline=None)
@given(plans, chosen, shard_sizes, numbers, st.data())
def test_resuming_gives_exactly_the_rest(
    fields: dict[str, Any], rows: Any, shard_rows: int, number: int, data: Any
) -> None:
    epoch = _ranks(fields, rows, shard_rows, number)[-1]
    start = data.draw(st.integers(0, len(epoch)))
    again = Epoch(epoch.batching, rows.copy(), shard_rows, number)
    assert _order(again, start) == _order(epoch)[start * fields["batch"] :]


@settings(max_examples=100, deadline=None)
@given(plans, chosen, shard_sizes, numbers)
def test_a_group_is_few_shards_each_read_once(
    fields: dict[str, Any], rows: Any, shard_rows: int, number: int
) -> None:
    epochs = _ranks(fields, rows, shard_rows, number)
    touched: list[int] = []
    for epoch in epochs:
        groups = list(epoch.groups())
        mine = [shard for group in groups for shard in group.shards]
        assert len(set(mine)) == len(mine)
        assert all(len(group.shards) <= (fields["mixed"] or len(rows)) for group in groups)
        assert all(set((group.rows // shard_rows).tolist()) == set(group.shards) for group in groups)
        touched += mine
    # a shard at the border of two ranks is read by both
    assert len(touched) <= len(np.unique(rows // shard_rows)) + len(epochs) - 1


def test_unshuffled_rows_come_as_they_are_stored() -> None:
    for rank in range(3):
        epoch = Epoch(Batching(batch=7, shuffle=False, rank=rank, world=3), ROWS[:100], 8, 5)
        assert _order(epoch) == list(range(33 * rank, 33 * rank + 33))


def test_seed_and_epoch_change_the_order_and_nothing_else_does() -> None:
    def order(seed: int, number: int, mixed: int | None = 3) -> list[int]:
        return _order(Epoch(Batching(batch=10, seed=seed, mixed=mixed), ROWS, 128, number))

    assert order(1, 2) == order(1, 2)
    assert len({tuple(order(seed, number)) for seed in range(3) for number in range(3)}) == 9
    assert Epoch(Batching(batch=10, seed=1), ROWS, 128, 2).rows is ROWS


def test_the_order_is_the_same_for_ever() -> None:
    """A change here means that no run of before can be resumed or repeated."""
    epoch = Epoch(Batching(batch=4, seed=7, mixed=2, rank=1, world=2), ROWS[:24], 4, 3)
    assert _order(epoch) == EXPECTED


EXPECTED = [21, 20, 23, 22, 4, 17, 5, 16, 6, 18, 19, 7]


def test_what_is_left_out_changes_with_the_epoch_and_with_the_place_in_a_shard() -> None:
    left = [
        set(range(100)) - set(_order(Epoch(Batching(batch=32, last="drop"), ROWS[:100], 25, number)))
        for number in range(200)
    ]
    assert {len(rows) for rows in left} == {4}
    assert set.union(*left) == set(range(100))


def test_each_place_of_an_epoch_is_as_likely_for_every_row() -> None:
    """Over many epochs the mean place of each row is the middle."""
    places = np.empty((400, 64))
    for number in range(400):
        order = _order(Epoch(Batching(batch=8, mixed=2), ROWS[:64], 8, number))
        places[number, order] = np.arange(64)
    error = 64 / np.sqrt(12 * 400)
    assert np.abs(places.mean(axis=0) - 31.5).max() < 4.5 * error
    # neighbours in the store are no neighbours in the epoch
    assert np.mean([abs(a - b) == 1 for a, b in pairwise(order)]) < 0.3


def test_the_spread_tells_how_far_a_shuffle_is_from_uniform() -> None:
    found = {
        mixed: np.mean(
            [spread(Epoch(Batching(batch=8, mixed=mixed), ROWS, 256, number)) for number in range(4)]
        )
        for mixed in (1, 4, None)
    }
    assert found[None] == pytest.approx(1, abs=0.03)
    assert found[4] == pytest.approx(4 / 16, rel=0.05)
    assert found[1] == pytest.approx(1 / 16, rel=0.05)


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(DataError, match="3 rows are too few for 4 ranks"):
        Epoch(Batching(batch=2, world=4), ROWS[:3], 8, 0)
    with pytest.raises(DataError, match="at least 8: a batch on every rank"):
        Epoch(Batching(batch=4, world=2, last="drop"), ROWS[:7], 8, 0)


@pytest.mark.parametrize(
    "fields",
    [
        {"batch": 0},
        {"batch": 1, "rank": 2, "world": 2},
        {"batch": 1, "mixed": 0},
        {"batch": 1, "seed": 2**53},
        {"batch": 1, "last": "pad"},
    ],
)
def test_impossible_batching_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Batching.model_validate(fields)
