"""A store with detectability: written, verified, and told by `info`."""

from collections.abc import Callable

import numpy as np
import pytest
from typer.testing import CliRunner

from flows.cli import app
from flows.generate import Order
from schemas.detectability import ideal_auc
from storage.commit import shard_faults
from storage.info import info
from storage.layout import Span
from storage.reader import open_store
from storage.verify import verify


@pytest.fixture(scope="module")
def seen(
    order_small: Callable[..., Order],
    make_store: Callable[[Order], None],
    tmp_path_factory: pytest.TempPathFactory,
) -> Order:
    order = order_small(tmp_path_factory.mktemp("seen") / "seen.zarr", "detectability=[val, test]")
    make_store(order)
    return order


def test_a_store_with_it_is_sound(seen: Order) -> None:
    assert verify(seen.root).sound


def test_info_tells_the_ideal_auc_of_classes_with_substructure(seen: Order) -> None:
    store = open_store(seen.root)
    found = info(seen.root).visibility
    assert [one.name for one in found] == ["cdm", "vortex"]
    for one in found:
        signal = np.concatenate(
            [
                store.column(split, "detectability")[store.read(split, "label") == one.label]
                for split in ("val", "test")
            ]
        )
        assert one.samples == len(signal) == 6
        assert one.median_detectability == np.median(signal) > 0
        assert one.ideal_auc == pytest.approx(ideal_auc(signal).mean())


def test_info_says_nothing_of_stores_without_it(sound_store: Order) -> None:
    assert info(sound_store.root).visibility == ()


def test_the_command_shows_it(seen: Order) -> None:
    said = CliRunner().invoke(app, ["info", str(seen.root)]).stdout
    assert "ideal AUC" in said
    assert "6 samples" in said
    assert "val, test" in said


@pytest.mark.parametrize(("split", "value"), [("test", np.nan), ("train", 1.0)])
def test_a_shard_with_the_column_in_the_wrong_split_is_refused(seen: Order, split: str, value: float) -> None:
    store = open_store(seen.root)
    span = Span(split, 0, 0, 8)
    arrays = {spec.name: store.read(split, spec.name, slice(0, 8)).copy() for spec in store.plan.arrays}
    assert shard_faults(seen.recipe, store.plan, span, arrays) == []
    arrays["params"][3, -1] = value
    (fault,) = shard_faults(seen.recipe, store.plan, span, arrays)
    assert fault.startswith("detectability: 1 of 8 values")
