"""What an audit looks at: columns and image statistics of many samples, and some of the images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from schemas.audit import Audited
from schemas.columns import ColumnSpec
from schemas.errors import DataError
from schemas.imported import ImportedData
from schemas.quantity import quantities_of
from schemas.registry import unknown_name
from schemas.store import ClassSpec
from storage.audit.classifier import most_features, normal_scores, without
from storage.audit.statistics import FLUX, image_statistics
from storage.reader import Store

Array = NDArray[np.float64]
Rows = tuple[str, NDArray[np.int64]]
MOST = 20_000
MOST_IMAGES = 2_000
MOST_PIXELS = 64
# Rows that are read at a time. Classes take turns, so a block has all of them alike.
BLOCK = 512
SMOOTH = "_smooth"


@dataclass(frozen=True)
class Evidence:
    """Numbers of samples with their labels. `images` has rows of pixels of the samples `pictured`."""

    about: Audited
    classes: tuple[ClassSpec, ...]
    label: NDArray[np.int32]
    columns: dict[str, Array]
    derived: dict[str, Array]
    statistics: dict[str, Array]
    images: NDArray[np.float32]
    pictured: NDArray[np.int64]
    own: tuple[str, ...] = ()
    uncompensated: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        present = [one.name for one in self.classes if (self.label == one.label).any()]
        if len(present) < 2 or len(present) < len(self.classes):
            raise DataError(
                f"samples of {' and '.join(present) or 'no class'} alone: there is nothing to tell apart",
                expected="samples of at least two classes, and of each that the store names",
                where=self.about.store,
                advice="audit a data set that is meant for classification",
            )

    @property
    def pairs(self) -> tuple[tuple[ClassSpec, ClassSpec], ...]:
        """Each class with each later one."""
        return tuple(combinations(self.classes, 2))

    @property
    def samples(self) -> dict[str, int]:
        """How many there are, by class."""
        return {one.name: int((self.label == one.label).sum()) for one in self.classes}


def gather(
    store: Store,
    split: str | None = None,
    columns: Sequence[str] = (),
    most: int = MOST,
    progress: Callable[[int], None] = lambda _: None,
) -> Evidence:
    """Read what an audit needs, block by block. `columns` are to be audited; without it, all that can be."""
    own = own_columns(store)
    chosen = chosen_columns(store, columns)
    rows = selected_rows(store, split, most)
    label, params, statistics, images, pictured = _read(store, rows, progress)
    table = {column.name: params[:, position] for position, column in enumerate(store.plan.columns)}
    smooth = {one.name: table[one.name] for one in chosen if not one.derived}
    return Evidence(
        about=Audited(
            store=str(store.root),
            recipe=store.origin.name,
            family=store.origin.family,
            digest=store.stored.digest,
            splits=tuple(dict.fromkeys(name for name, _ in rows)),
            classes=tuple(one.name for one in store.plan.classes),
        ),
        classes=store.plan.classes,
        label=label,
        columns=smooth,
        derived={one.name: table[one.name] for one in chosen if one.derived},
        statistics=statistics | _given(statistics, smooth),
        images=images,
        pictured=pictured,
        own=own,
        uncompensated=_uncompensated(store, own, table, label),
        notes=_notes(store),
    )


def own_columns(store: Store) -> tuple[str, ...]:
    """What only describes the substructure: the classes may differ in it, that is what they are for."""
    theirs: set[str] = set()
    # what came with imported images describes the substructure only if not every class has it
    if not isinstance(store.origin, ImportedData):
        theirs = {name for one in store.recipe.classes for name in quantities_of(one.substructure.Columns)}
    everyone = {one.label for one in store.plan.classes}
    return tuple(
        column.name
        for column in store.plan.columns
        if not column.derived and (column.name in theirs or set(column.labels) != everyone)
    )


def chosen_columns(store: Store, names: Sequence[str] = ()) -> list[ColumnSpec]:
    """The columns to audit: those with these names, or all that every class of at least two has."""
    if len(store.plan.classes) < 2:
        raise DataError(
            f"{store.root} has one class, {store.plan.classes[0].name}: there is nothing to tell apart",
            expected="a data set of two classes or more",
            where=str(store.root),
        )
    own = own_columns(store)
    everyone = {one.label for one in store.plan.classes}
    possible = [one for one in store.plan.columns if one.name not in own and set(one.labels) == everyone]
    known = [one.name for one in possible]
    for name in names:
        if name not in known:
            raise unknown_name("column that every class has", name, known)
    return [one for one in possible if not names or one.name in names]


def selected_rows(store: Store, split: str | None, most: int) -> list[Rows]:
    """At most so many rows of each class, in blocks from all over the store; the same ones every time."""
    names: list[str] = [one.name for one in store.plan.splits]
    if split is not None and split not in names:
        raise unknown_name("split", split, names)
    blocks = []
    for name in names if split is None else [split]:
        labels = store.read(name, "label")
        blocks += [(name, first, labels[first : first + BLOCK]) for first in range(0, len(labels), BLOCK)]
    taken = {one.label: 0 for one in store.plan.classes}
    chosen = []
    for position in np.random.default_rng(0).permutation(len(blocks)):
        name, first, labels = blocks[position]
        keep = [np.flatnonzero(labels == label)[: most - count] for label, count in taken.items()]
        taken = {label: count + len(rows) for (label, count), rows in zip(taken.items(), keep, strict=True)}
        if any(len(rows) for rows in keep):
            chosen.append((position, (name, first + np.sort(np.concatenate(keep)))))
        if all(count >= most for count in taken.values()):
            break
    return [rows for _, rows in sorted(chosen, key=lambda one: one[0])]


def _read(
    store: Store, rows: list[Rows], progress: Callable[[int], None]
) -> tuple[NDArray[np.int32], Array, dict[str, Array], NDArray[np.float32], NDArray[np.int64]]:
    labels, params, statistics, images, pictured = [], [], [], [], []
    total = sum(len(inside) for _, inside in rows)
    wanted = min(MOST_IMAGES * len(store.plan.classes), total)
    done = 0
    for split, inside in rows:
        block = slice(int(inside[0]), int(inside[-1]) + 1)
        here = inside - inside[0]
        image = store.read(split, "image", block)[here]
        labels.append(store.read(split, "label", block)[here])
        params.append(store.read(split, "params", block)[here])
        statistics.append(image_statistics(image))
        # the first few of each block: classes take turns, so that they are all among them
        few = (done + len(here)) * wanted // total - done * wanted // total
        images.append(_binned(image[:few]))
        pictured.append(done + np.arange(few))
        done += len(here)
        progress(done)
    together = {name: np.concatenate([one[name] for one in statistics]) for name in statistics[0]}
    return (
        np.concatenate(labels),
        np.concatenate(params),
        together,
        np.concatenate(images),
        np.concatenate(pictured),
    )


def _binned(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """At most 64 pixels a side and one channel, a row of pixels for each image."""
    image = images.sum(axis=1)
    factor = -(-image.shape[-1] // MOST_PIXELS)
    side = image.shape[-1] // factor
    cut = image[:, : side * factor, : side * factor]
    blocks = cut.reshape(len(cut), side, factor, side, factor)
    return np.ascontiguousarray(blocks.mean(axis=(2, 4)).reshape(len(cut), -1))


def _given(statistics: dict[str, Array], columns: dict[str, Array]) -> dict[str, Array]:
    """Flux and size of the light beyond what the columns let expect: far sharper than these themselves."""
    varying = [normal_scores(values) for values in columns.values() if np.ptp(values) > 0]
    if not varying or len(varying) > most_features(len(varying[0])):
        return {}
    scores = np.stack(varying, axis=1)
    return {f"{name} given columns": without(statistics[name], scores) for name in (FLUX, "radius")}


def _uncompensated(
    store: Store, own: tuple[str, ...], table: dict[str, Array], label: NDArray[np.int32]
) -> tuple[str, ...]:
    """Classes whose substructure came on top of the smooth part instead of out of it.

    Where it came out, a derived column such as `theta_E_smooth` is what was left of the drawn `theta_E`.
    """
    if isinstance(store.origin, ImportedData):
        # how they were made is not known; the notes say so
        return ()
    left = [one.name for one in store.plan.columns if one.derived and one.name.endswith(SMOOTH)]
    with_substructure = [
        one
        for one in store.plan.classes
        if any(column.name in own and one.label in column.labels for column in store.plan.columns)
    ]
    return tuple(
        one.name
        for one in with_substructure
        if not any(_less(table, name, label == one.label) for name in left)
    )


def _less(table: dict[str, Array], name: str, rows: NDArray[np.bool_]) -> bool:
    drawn = table.get(name.removesuffix(SMOOTH))
    return drawn is not None and bool((table[name][rows] < drawn[rows]).any())


def _notes(store: Store) -> tuple[str, ...]:
    if isinstance(store.origin, ImportedData):
        return ("imported data: nobody here knows how they were made, such as whether mass was compensated",)
    recipe = store.recipe
    notes = []
    if recipe.family == "replica":
        notes.append("a replica: it repeats a published simulator, shortcuts included")
    if recipe.noise.kind == "none":
        notes.append("no noise: differences that no telescope would show are there to be learned")
    return tuple(notes)
