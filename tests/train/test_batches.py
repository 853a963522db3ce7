"""Samples in memory: the right ones, in order; batches hold each of them once."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from schemas.errors import DataError, ResourceError, UnknownNameError
from storage.reader import Store
from train import data
from train.data import Batches, batches, chunks, labels_of, load_samples

ALL = (0, 1, 2)


@pytest.mark.parametrize("labels", [(0, 1, 2), (2,), (0, 2)], ids=str)
@pytest.mark.parametrize("split", ["train", "val", "test"])
@pytest.mark.parametrize("block", [5, 4096])
def test_samples_are_the_rows_of_the_chosen_classes(
    sound: Store, split: str, labels: tuple[int, ...], block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "ROWS_AT_ONCE", block)
    samples = load_samples(sound, split, labels)
    label = sound.read(split, "label")
    rows = np.flatnonzero(np.isin(label, labels))
    assert len(samples) == len(rows) > 0
    assert np.array_equal(samples.row, rows)
    assert np.array_equal(samples.label, label[rows])
    for name in ("image", "params", "sample_id"):
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


def test_no_sample_of_a_class_is_an_error(sound: Store) -> None:
    with pytest.raises(DataError, match="no sample of the classes with label 7 in the test split"):
        load_samples(sound, "test", (7,))


def test_images_that_do_not_fit_are_refused(sound: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    needed = 42 * 16 * 16 * 4
    free = needed / data.MEMORY_SHARE
    available = int(free) - 1
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=available))
    with pytest.raises(ResourceError, match="42 images need"):
        load_samples(sound, "train", ALL)
    available = int(free) + 1
    assert len(load_samples(sound, "train", ALL)) == 42


def test_labels_of_names(sound: Store) -> None:
    assert labels_of(sound, None) == (0, 1, 2)
    assert labels_of(sound, ("vortex", "no_sub")) == (2, 0)
    with pytest.raises(UnknownNameError, match="unknown class 'vertex'") as caught:
        labels_of(sound, ("cdm", "vertex"))
    assert "'vortex'" in caught.value.advice


def _numbered(count: int) -> Batches:
    images = np.arange(count, dtype=np.float32)[:, None, None, None]
    return Batches(images, torch.arange(count))


def _flat(epoch: list[list[int]]) -> list[int]:
    return list(itertools.chain.from_iterable(epoch))


def _epoch(loader: "data.DataLoader[tuple[torch.Tensor, torch.Tensor]]") -> list[list[int]]:
    result = []
    for images, target in loader:
        assert torch.equal(images[:, 0, 0, 0].long(), target), "images and targets were torn apart"
        result.append(target.tolist())
    return result


@pytest.mark.parametrize(("count", "size"), [(12, 4), (10, 4), (3, 8), (1, 1)])
def test_batches_in_order_hold_every_sample_once(count: int, size: int) -> None:
    found = _epoch(batches(_numbered(count), size))
    assert _flat(found) == list(range(count))
    assert all(len(one) == size for one in found[:-1])


@pytest.mark.parametrize(("count", "size"), [(12, 4), (3, 8), (8, 8), (1, 1)])
def test_shuffled_batches_hold_every_sample_once(count: int, size: int) -> None:
    found = _epoch(batches(_numbered(count), size, shuffle_seed=1))
    assert sorted(_flat(found)) == list(range(count))


def test_a_last_partial_batch_is_left_out_and_other_samples_the_next_time() -> None:
    loader = batches(_numbered(10), 4, shuffle_seed=1)
    epochs = [_flat(_epoch(loader)) for _ in range(6)]
    assert all(len(one) == len(set(one)) == 8 for one in epochs)
    assert set(_flat(epochs)) == set(range(10))


def test_the_seed_decides_the_order_and_each_epoch_has_its_own() -> None:
    def two_epochs(seed: int) -> list[list[int]]:
        loader = batches(_numbered(40), 8, shuffle_seed=seed)
        return [_flat(_epoch(loader)) for _ in range(2)]

    one, again, other = two_epochs(1), two_epochs(1), two_epochs(2)
    assert one == again
    assert one != other
    assert one[0] != one[1]
    assert one[0] != list(range(40))


def test_the_order_does_not_depend_on_what_else_was_drawn() -> None:
    first = _epoch(batches(_numbered(40), 8, shuffle_seed=3))
    torch.rand(17)
    assert _epoch(batches(_numbered(40), 8, shuffle_seed=3)) == first


@pytest.mark.parametrize("size", [1, 4, 100])
def test_chunks_are_all_images_in_order(size: int) -> None:
    images = np.arange(10, dtype=np.float32)[:, None, None, None]
    found = list(chunks(images, size))
    assert torch.cat(found).flatten().tolist() == list(range(10))
    assert max(map(len, found)) <= size


def test_a_class_of_the_store_without_rows_is_no_trouble(
    sound: Store, another_store: Callable[..., object]
) -> None:
    plan = sound.plan.model_copy(update={"classes": sound.plan.classes[:2]})
    samples = load_samples(replace(sound, plan=plan), "train", labels_of(replace(sound, plan=plan), None))
    assert set(samples.label) == {0, 1}
