"""Chosen samples of a store: their labels and parameters in memory, their images where they fit."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from schemas.dataset import SPLITS
from schemas.errors import DataError
from schemas.experiment import ExperimentRecipe
from schemas.registry import unknown_name
from schemas.selection import Selection
from storage.importing.unlabelled import ImageStack
from storage.reader import Store
from storage.reading.epochs import Batching
from storage.reading.resident import Mode, Resident
from storage.reading.selection import select
from train.images import CPU, Images, Pixels, open_images

Places = NDArray[np.int64]


@dataclass(frozen=True)
class Samples:
    """Chosen rows of a split. `sample_id` and the store's seed are what a sample is known by.

    Its images are read when they are asked for: there may be more of them than memory.
    """

    label: NDArray[np.int32]
    params: NDArray[np.float64]
    sample_id: NDArray[np.int64]
    row: NDArray[np.int64]
    images: Images = field(repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.label)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of all images together: (samples, channels, y, x)."""
        return (len(self), *self.images.tail)

    def take(self, places: Places | None = None) -> Pixels:
        """The images at these places among the samples; all of them, which few samples bear, if left out."""
        return self.images.take(self.row if places is None else self.row[places])

    def at_most(self, count: int) -> Pixels:
        """Images spread evenly over the samples, fewer than twice `count` of them."""
        return self.take(np.arange(0, len(self), max(1, len(self) // count)))


def load_samples(
    store: Store,
    split: str,
    labels: tuple[int, ...],
    most_per_class: int | None = None,
    mode: Mode = "streamed",
    device: torch.device = CPU,
    shuffled: int | None = None,
) -> Samples:
    """The samples of these classes, the first ones of each where there are more than asked for.

    With the seed `shuffled`, each image gets the label and the parameters of another.
    """
    return selected_samples(store, _selection(store, split, labels, most_per_class), mode, device, shuffled)


def selected_samples(
    store: Store,
    selection: Selection,
    mode: Mode = "streamed",
    device: torch.device = CPU,
    shuffled: int | None = None,
) -> Samples:
    """The samples that meet conditions; none is an error."""
    selected = select(store, selection)
    books = Resident(store, selected, ("label", "params", "sample_id")).arrays
    if shuffled is not None:
        order = np.random.default_rng(shuffled).permutation(len(books["label"]))
        books |= {name: books[name][order] for name in ("label", "params")}
    return Samples(
        label=books["label"],
        params=books["params"],
        sample_id=books["sample_id"],
        row=selected.rows,
        images=open_images(store, selection, mode, device),
    )


def shuffling_seed(experiment: ExperimentRecipe) -> int | None:
    """What the labels of an experiment are shuffled by; None where they are true."""
    return experiment.seed if experiment.data.labels == "shuffled" else None


def _selection(store: Store, split: str, labels: tuple[int, ...], most_per_class: int | None) -> Selection:
    known = {one.label: one.name for one in store.plan.classes}
    found = np.unique(store.read(split, "label"))
    if not np.isin(found, labels).any():
        raise DataError(
            f"no sample of the classes with label {', '.join(map(str, labels))} in the {split} split",
            where=str(store.root),
        )
    names = tuple(known[label] for label in labels if label in known)
    return Selection.model_validate({"split": split, "classes": names, "per_class": most_per_class})


def labels_of(store: Store, names: tuple[str, ...] | None, key: str = "data.classes") -> tuple[int, ...]:
    """The labels of classes by their names, which stand at `key`; all of the store without names."""
    known = {one.name: one.label for one in store.plan.classes}
    for name in names or ():
        if name not in known:
            some = ", ".join(known) if key == "data.classes" else next(iter(known))
            advice = f"name classes of the store: --set '{key}=[{some}]'"
            raise unknown_name("class", name, known, advice, where=f"{key}; the store {store.root}")
    return tuple(known[name] for name in names or known)


def check_split(store: Store, split: str) -> None:
    """Refuse a split that is empty or that no store has."""
    if store.plan.rows_of(split):
        return
    known = [str(one.name) for one in store.plan.splits if one.rows]
    advice = f"choose one of them with --split, or make a store with a {split} split"
    error = unknown_name("split", split, known, advice if split in SPLITS else "", where=str(store.root))
    if split in SPLITS:
        error.found += ": the store has no sample in it"
    raise error


def chunks(images: Pixels | ImageStack | Samples, size: int, device: torch.device = CPU) -> Iterator[Tensor]:
    """Images in order, a batch at a time, for prediction."""
    if isinstance(images, Samples):
        in_order = Batching(batch=size, shuffle=False)
        for _, some in images.images.batches(in_order, 0):
            yield some.to(device)
        return
    for first in range(0, len(images), size):
        yield torch.from_numpy(images[first : first + size]).to(device)
