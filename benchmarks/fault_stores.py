"""Small stores that faults are tried on: made here and now, compared byte by byte, damaged."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from flows.shards import Order, make_shard
from schemas.products import PRODUCTS
from storage import commit, layout

OVERRIDES = (
    "instrument.num_pix=16",
    # a survey refuses those that are longer than so small a field
    "classes.vortex.substructure.half_length_at_1e22_arcsec=0.01",
    "storage.shard_images=8",
    "seed=1001",
)
# 60 images in nine shards of three splits
SMALL = ("samples_per_class=20", "splits={train: 0.7, val: 0.1, test: 0.2}")
# long enough to be met in the middle: 114 shards
LONG = ("samples_per_class=300", "splits={train: 0.7, val: 0.1, test: 0.2}")
# a receipt, all arrays and the table of subhalos, twice
TWO = ("samples_per_class=4", "splits={train: 1}", f"products=[{', '.join(PRODUCTS)}]")


@dataclass(frozen=True)
class Outcome:
    """A line of the table: how often something was done, and how often what must follow did."""

    event: str
    tries: int
    held: int
    outcome: str

    @property
    def sound(self) -> bool:
        """Whether it followed every time."""
        return self.tries == self.held > 0


@dataclass(frozen=True)
class Workplace:
    """A folder for all that is tried, with the stores that were never disturbed."""

    folder: Path

    @cached_property
    def small(self) -> Order:
        """Nine shards."""
        return self._made("small.zarr", SMALL)

    @cached_property
    def long(self) -> Order:
        """114 shards."""
        return self._made("long.zarr", LONG)

    @cached_property
    def two(self) -> Order:
        """Two shards with all products."""
        return self._made("two.zarr", TWO)

    def _made(self, name: str, overrides: tuple[str, ...]) -> Order:
        # imported here: the writer, which is started often, needs no Prefect
        from flows import orders

        order = orders.prepare("tiny", self.folder / "sound" / name, None, [*OVERRIDES, *overrides])
        complete(order)
        return order

    def copy(self, sound: Order, name: str) -> Order:
        """A copy of a store, to be damaged."""
        root = self.folder / "damaged" / name
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(sound.root, root)
        return replace(sound, root=root)

    def empty(self, sound: Order, name: str) -> Order:
        """The order of a store at a place where nothing is yet."""
        root = self.folder / "new" / name
        shutil.rmtree(root, ignore_errors=True)
        root.parent.mkdir(parents=True, exist_ok=True)
        return replace(sound, root=root)


def complete(order: Order) -> None:
    """Make what is missing of a store and seal it, in this process."""
    with commit.writing(order.root):
        commit.begin(order.root, order.recipe, order.plan)
        receipts = []
        for span in layout.spans(order.plan):
            receipt = commit.valid_receipt(order.root, order.plan, span)
            if receipt is None:
                commit.unseal(order.root)
                receipt = make_shard(order.root, order.recipe, order.plan, span)
            receipts.append(receipt)
        commit.seal(order.root, order.recipe, order.plan, receipts)


def content(root: Path) -> dict[str, bytes]:
    """All files of a store by their path, but for the lock."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in files if path != root / commit.LOCK}


def same(one: Order, other: Order) -> bool:
    """Whether two stores are the same files."""
    return content(one.root) == content(other.root)


def bad_receipts(order: Order) -> list[str]:
    """Shards whose receipt vouches for files that are not as it says."""
    return [
        str(span)
        for span in layout.spans(order.plan)
        if (order.root / commit.receipt_path(span)).exists()
        and commit.valid_receipt(order.root, order.plan, span) is None
    ]


def count(event: str, outcome: str, trials: list[bool] | list[Callable[[], bool]]) -> Outcome:
    """The line of an event of which every trial is known."""
    held = sum(bool(one() if callable(one) else one) for one in trials)
    return Outcome(event, len(trials), held, outcome)
