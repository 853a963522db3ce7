"""Samples of a store: the right ones, their images read when asked for; a feed holds each of them once."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from schemas.errors import DataError, UnknownNameError
from storage.reader import Store
from train.data import Samples, chunks, labels_of, load_samples
from train.feeding import Feed

ALL = (0, 1, 2)


@pytest.mark.parametrize("labels", [(0, 1, 2), (2,), (0, 2)], ids=str)
@pytest.mark.parametrize("split", ["train", "val", "test"])
@pytest.mark.parametrize("mode", ["resident", "streamed"])
def test_samples_are_the_rows_of_the_chosen_classes(
    sound: Store, split: str, labels: tuple[int, ...], mode: Any
) -> None:
    samples = load_samples(sound, split, labels, mode=mode)
    label = sound.read(split, "label")
    rows = np.flatnonzero(np.isin(label, labels))
    assert len(samples) == len(rows) > 0
    assert samples.shape == (len(rows), 1, 16, 16)
    assert np.array_equal(samples.row, rows)
    assert np.array_equal(samples.label, label[rows])
    assert np.array_equal(samples.take(), sound.read(split, "image")[rows])
    backwards = np.arange(len(rows))[::-1]
    assert np.array_equal(samples.take(backwards), sound.read(split, "image")[rows[::-1]])
    for name in ("params", "sample_id"):
        assert np.array_equal(getattr(samples, name), sound.read(split, name)[rows], equal_nan=True)


@pytest.mark.parametrize("most", [1, 3, 14, 1000])
def test_most_per_class_takes_the_first_of_each_in_order(sound: Store, most: int) -> None:
    label = sound.read("train", "label")
    samples = load_samples(sound, "train", (2, 0), most)
    assert set(samples.label) == {0, 2}
    for one in (0, 2):
        expected = np.flatnonzero(label == one)[:most]
        assert np.array_equal(samples.row[samples.label == one], expected)
    assert (np.diff(samples.row) > 0).all()
    assert np.array_equal(samples.sample_id, sound.read("train", "sample_id")[samples.row])


@pytest.mark.parametrize(("count", "step"), [(1, 42), (20, 2), (21, 2), (22, 1), (2048, 1)])
def test_a_stated_number_of_images_spread_over_the_split(sound: Store, count: int, step: int) -> None:
    found = load_samples(sound, "train", ALL).at_most(count)
    assert np.array_equal(found, sound.read("train", "image")[::step])
    assert len(found) < 2 * count


def test_no_sample_of_a_class_is_an_error(sound: Store) -> None:
    with pytest.raises(DataError, match="no sample of the classes with label 7 in the test split"):
        load_samples(sound, "test", (7,))


def test_labels_of_names(sound: Store) -> None:
    assert labels_of(sound, None) == (0, 1, 2)
    assert labels_of(sound, ("vortex", "no_sub")) == (2, 0)
    with pytest.raises(UnknownNameError, match="unknown class 'vertex'") as caught:
        labels_of(sound, ("cdm", "vertex"))
    assert "'vortex'" in caught.value.advice


def test_a_class_of_the_store_without_rows_is_no_trouble(
    sound: Store, another_store: Callable[..., object]
) -> None:
    plan = sound.plan.model_copy(update={"classes": sound.plan.classes[:2]})
    samples = load_samples(replace(sound, plan=plan), "train", labels_of(replace(sound, plan=plan), None))
    assert set(samples.label) == {0, 1}


# -- feeds


def _samples(sound: Store, count: int) -> Samples:
    """So many of the first training samples, a third of each class."""
    return load_samples(sound, "train", ALL, count // 3)


def _feed(samples: Samples, size: int, seed: int | None = None) -> Feed:
    return Feed(samples, torch.from_numpy(samples.label), size, seed)


def _flat(epoch: list[list[int]]) -> list[int]:
    return list(itertools.chain.from_iterable(epoch))


def _epoch(feed: Feed) -> list[list[int]]:
    """The samples of each batch. Images, targets and numbers must belong together."""
    known = {int(one): place for place, one in enumerate(feed.samples.sample_id)}
    images = torch.from_numpy(feed.samples.take())
    result = []
    for batch in feed:
        places = [known[one] for one in batch.sample_ids.tolist()]
        assert torch.equal(batch.images, images[places]), "images and samples were torn apart"
        assert batch.target.tolist() == feed.samples.label[places].tolist()
        result.append(batch.sample_ids.tolist())
    assert len(result) == len(feed)
    return result


@pytest.mark.parametrize(("count", "size"), [(12, 4), (9, 4), (3, 8)])
def test_batches_in_order_hold_every_sample_once(sound: Store, count: int, size: int) -> None:
    samples = _samples(sound, count)
    found = _epoch(_feed(samples, size))
    assert _flat(found) == samples.sample_id.tolist()
    assert all(len(one) == size for one in found[:-1])


@pytest.mark.parametrize(("count", "size"), [(12, 4), (3, 8), (9, 9), (42, 7)])
def test_shuffled_batches_hold_every_sample_once(sound: Store, count: int, size: int) -> None:
    samples = _samples(sound, count)
    found = _epoch(_feed(samples, size, seed=1))
    assert sorted(_flat(found)) == sorted(samples.sample_id.tolist())


def test_a_last_partial_batch_is_left_out_and_other_samples_the_next_time(sound: Store) -> None:
    feed = _feed(_samples(sound, 9), 4, seed=1)
    seen = set()
    for epoch in range(12):
        feed.begin(epoch)
        found = _epoch(feed)
        assert [len(one) for one in found] == [4, 4]
        assert len(set(_flat(found))) == 8
        seen |= set(_flat(found))
    assert len(seen) == 9


def test_seed_and_epoch_decide_the_order_and_nothing_else(sound: Store) -> None:
    def two_epochs(seed: int) -> list[list[list[int]]]:
        feed, found = _feed(_samples(sound, 42), 8, seed), []
        for epoch in (0, 1):
            torch.rand(17)
            feed.begin(epoch)
            found.append(_epoch(feed))
        return found

    one, again, other = two_epochs(1), two_epochs(1), two_epochs(2)
    assert one == again
    assert one != other
    assert one[0] != one[1]
    assert _flat(one[0]) != sorted(_flat(one[0]))


def test_an_epoch_goes_on_in_its_middle(sound: Store) -> None:
    feed = _feed(_samples(sound, 42), 8, seed=1)
    feed.begin(3)
    whole = _epoch(feed)
    later = _feed(_samples(sound, 42), 8, seed=1)
    later.begin(3, 2)
    # Lightning says so again when it begins
    later.set_epoch(3)
    assert [batch.sample_ids.tolist() for batch in later] == whole[2:]
    # and the next pass is whole
    assert _epoch(later) == whole


@pytest.mark.parametrize("seed", [None, 5])
@pytest.mark.parametrize(("count", "size"), [(42, 8), (33, 16), (9, 4), (3, 16), (36, 12)])
def test_ranks_share_every_batch(sound: Store, count: int, size: int, seed: int | None) -> None:
    samples = _samples(sound, count)
    whole = _epoch(_feed(samples, size, seed))
    feeds = [_feed(samples, size, seed).of_rank(rank, 2) for rank in range(2)]
    parts = [_epoch(feed) for feed in feeds]
    assert all(one for part in parts for one in part), "a rank waits for another"
    assert len(parts[0]) == len(parts[1])
    if seed is not None:
        shared = [sorted([*one, *other]) for one, other in zip(*parts, strict=True)]
        assert shared == [sorted(one) for one in whole]
    assert sorted(_flat(parts[0] + parts[1])) == sorted(_flat(whole))


def test_a_rank_goes_on_in_the_middle_of_an_epoch(sound: Store) -> None:
    feed = _feed(_samples(sound, 42), 8, seed=1).of_rank(1, 2)
    feed.begin(3)
    whole = _epoch(feed)
    feed.begin(3, 2)
    assert [batch.sample_ids.tolist() for batch in feed] == whole[2:]


def test_fewer_samples_than_ranks_are_refused(sound: Store) -> None:
    with pytest.raises(DataError, match="3 samples for 4 processes"):
        _feed(_samples(sound, 3), 4).of_rank(0, 4)
    with pytest.raises(DataError, match="batches of 2 samples cannot be shared by 3 processes"):
        _feed(_samples(sound, 3), 2).of_rank(0, 3)


@pytest.mark.parametrize("size", [1, 4, 100])
def test_chunks_are_all_images_in_order(sound: Store, size: int) -> None:
    samples = _samples(sound, 12)
    for images in (samples, samples.take()):
        found = list(chunks(images, size))
        assert np.array_equal(torch.cat(found).numpy(), samples.take())
        assert max(map(len, found)) <= size
