"""Stores of images in several bands: layout, checks, readers, gallery, audit."""

import shutil
from collections.abc import Callable
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import zarr

from flows import orders
from flows.generate import Order
from simulate.render import render
from storage.audit import audit, gather
from storage.info import info
from storage.layout import store_bytes
from storage.pictures.gallery import show
from storage.reader import open_store
from storage.verify import verify

BANDS = ("bands=[g, r, i]", "source.magnitude={g: 22, r: 19, i: 18}")


@pytest.fixture(scope="module")
def coloured(
    order_small: Callable[..., Order],
    make_store: Callable[[Order], None],
    tmp_path_factory: pytest.TempPathFactory,
) -> Order:
    """A finished store of three bands. Not to be changed."""
    order = order_small(tmp_path_factory.mktemp("coloured") / "coloured.zarr", *BANDS)
    make_store(order)
    return order


def test_a_store_holds_what_was_rendered(coloured: Order) -> None:
    store = open_store(coloured.root)
    assert store.plan.array("image").tail == (3, 16, 16)
    image, ids = store.read("test", "image"), store.read("test", "sample_id")
    assert image.tobytes() == render(coloured.recipe, ids).image.tobytes()
    outside = zarr.open_group(coloured.root, mode="r")["test/image"]
    assert outside.attrs["bands"] == ["g", "r", "i"]  # type: ignore[comparison-overlap]
    assert np.asarray(outside[:]).tobytes() == image.tobytes()  # type: ignore[index]


def test_an_image_without_bands_says_nothing_of_them(sound_store: Order) -> None:
    assert not dict(zarr.open_group(sound_store.root, mode="r")["test/image"].attrs)
    assert info(sound_store.root).bands == ()


def test_it_is_verified_and_told(coloured: Order, tmp_path: Path) -> None:
    assert verify(coloured.root).sound
    found = info(coloured.root)
    assert (found.image_shape, found.bands) == ((3, 16, 16), ("g", "r", "i"))
    damaged = tmp_path / "damaged.zarr"
    shutil.copytree(coloured.root, damaged)
    shard = next((damaged / "train/image").rglob("c/0/0/0/0"))
    content = bytearray(shard.read_bytes())
    content[5] ^= 1
    shard.write_bytes(bytes(content))
    assert not verify(damaged).sound


def test_shards_stay_within_their_size(tmp_path: Path) -> None:
    by_bands = {}
    for bands in ("null", "[g]", "[g, r, i]", "[a, b, c, d]"):
        order = orders.prepare("model_ii", tmp_path / "out.zarr", None, [f"bands={bands}"])
        by_bands[bands] = order.plan.shard_rows
        images = sum(split.rows for split in order.plan.splits) * order.recipe.channels * 4 * 64**2
        assert images < store_bytes(order.plan) < 1.1 * images
    assert by_bands == {"null": 4096, "[g]": 4096, "[g, r, i]": 1024, "[a, b, c, d]": 1024}


def test_three_bands_make_a_coloured_gallery(coloured: Order, sound_store: Order, tmp_path: Path) -> None:
    grey, colour = (
        matplotlib.image.imread(show(order.root, tmp_path / f"{name}.png"))[..., :3]
        for name, order in (("grey", sound_store), ("colour", coloured))
    )
    assert np.ptp(grey, axis=2).max() == 0
    assert np.ptp(colour, axis=2).max() > 0.1


def test_the_last_band_is_red(
    order_small: Callable[..., Order], make_store: Callable[[Order], None], tmp_path: Path
) -> None:
    # a source in the last band alone: whatever has colour is red
    order = order_small(
        tmp_path / "red.zarr",
        "bands=[g, r, i]",
        "source.magnitude={g: 40, r: 40, i: 16}",
        "noise={kind: none}",
        "splits={train: 1}",
    )
    make_store(order)
    picture = matplotlib.image.imread(show(order.root, tmp_path / "red.png"))[..., :3]
    coloured = np.ptp(picture, axis=2) > 0.2
    assert coloured.sum() > 100
    assert (picture[coloured].argmax(axis=1) == 0).all()


@pytest.mark.parametrize("bands", ["[g, r]", "[a, b, c, d]"])
def test_any_other_number_of_bands_is_grey(
    order_small: Callable[..., Order], make_store: Callable[[Order], None], tmp_path: Path, bands: str
) -> None:
    order = order_small(tmp_path / "few.zarr", f"bands={bands}", "splits={train: 1}", "samples_per_class=3")
    make_store(order)
    picture = matplotlib.image.imread(show(order.root, tmp_path / "few.png"))[..., :3]
    assert np.ptp(picture, axis=2).max() == 0
    assert np.ptp(picture) > 0.9


def test_an_audit_looks_at_each_band(coloured: Order) -> None:
    evidence = gather(open_store(coloured.root))
    assert {"flux", "flux_0", "flux_1", "flux_2"} <= set(evidence.statistics)
    assert "source_R_sersic" in evidence.columns
    assert {"flux_0", "flux_2"} <= {row.subject for row in audit(evidence).rows}
