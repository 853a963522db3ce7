"""Views give what plain reading gives, in every format and profile, and read only what is asked."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from flows.generate import Order
from schemas.errors import DataError, UnknownNameError
from storage.reader import Store, open_store
from storage.views import dask_view, numpy_view, xarray_view


@pytest.fixture(scope="session", params=["float32", "quantised", "archive"])
def viewed(
    request: pytest.FixtureRequest,
    backend: str,
    order_small: Callable[..., Order],
    make_store: Callable[[Order], None],
    tmp_path_factory: pytest.TempPathFactory,
) -> Store:
    """A finished small store of each format and profile, with a map beside its images."""
    root = tmp_path_factory.mktemp("viewed") / "small.store"
    options = (f"storage.backend={backend}", f"storage.profile={request.param}", "products=[deflection]")
    order = order_small(root, *options)
    make_store(order)
    return open_store(root)


@pytest.mark.parametrize("array", ["image", "deflection", "label", "params"])
def test_an_index_gives_what_it_gives_in_numpy(viewed: Store, array: str) -> None:
    values, view = viewed.read("train", array), numpy_view(viewed, "train", array)
    assert (view.shape, view.dtype, view.ndim, len(view)) == (values.shape, values.dtype, values.ndim, 42)
    mask = np.arange(42) % 5 == 0
    indices: list[Any] = [
        slice(None), slice(5, 20), slice(30, None, -3), slice(7, 7), 0, -1, np.int64(41),
        [3, 1, 1, -1], np.array([], int), mask, Ellipsis,
    ]  # fmt: skip
    for index in indices:
        assert np.array_equal(view[index], values[index], equal_nan=True), index
        assert view[index].dtype == values.dtype
    assert np.array_equal(np.asarray(view), values, equal_nan=True)
    assert "train/" + array in repr(view)


def test_further_indices_apply_to_what_was_read(viewed: Store) -> None:
    values, view = viewed.read("train", "image"), numpy_view(viewed, "train")
    assert np.array_equal(view[3, 0, 2:5, ::2], values[3, 0, 2:5, ::2])
    assert np.array_equal(view[[4, 40], 0, 1], values[[4, 40], 0, 1])
    assert np.array_equal(view[4:9, :, 3], values[4:9, :, 3])


def test_what_does_not_exist_is_refused(viewed: Store) -> None:
    view = numpy_view(viewed, "train")
    for index in (42, -43, [0, 42]):
        with pytest.raises(DataError, match="there is no row"):
            view[index]
    with pytest.raises(IndexError, match="a mask of shape"):
        view[np.ones(3, bool)]
    with pytest.raises(UnknownNameError, match="unknown array 'images'"):
        numpy_view(viewed, "train", "images")
    with pytest.raises(UnknownNameError, match="unknown split 'training'"):
        numpy_view(viewed, "training")


def test_dask_reads_a_block_a_shard(viewed: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    image = dask_view(viewed, "train")
    assert image.chunks == ((8, 8, 8, 8, 8, 2), (1,), (16,), (16,))
    asked: list[slice] = []
    read = Store.read

    def noted(self: Store, split: str, array: str, rows: slice = slice(None)) -> Any:
        asked.append(rows)
        return read(self, split, array, rows)

    monkeypatch.setattr(Store, "read", noted)
    values = image[10:14].compute(scheduler="threads")
    assert [(rows.start, rows.stop) for rows in asked] in ([(8, 16)], [(10, 14)])
    monkeypatch.undo()
    assert values.tobytes() == viewed.read("train", "image", slice(10, 14)).tobytes()
    assert image.mean().compute() == pytest.approx(viewed.read("train", "image").mean(dtype=np.float64))


def test_xarray_knows_names_and_meaning(viewed: Store) -> None:
    found = xarray_view(viewed, "train")
    assert dict(found.sizes) == {
        "sample": 42, "channel": 1, "y": 16, "x": 16, "component": 2, "column": len(viewed.plan.columns),
    }  # fmt: skip
    assert set(found.data_vars) == {"image", "label", "params", "deflection"}
    theta = found.params.sel(column="theta_E")
    assert np.array_equal(theta.values, viewed.column("train", "theta_E"))
    assert theta.unit == "arcsec"
    vortices = found.image.where(found.class_name == "vortex", drop=True)
    label = viewed.read("train", "label")
    assert vortices.values.tobytes() == viewed.read("train", "image")[label == 2].tobytes()
    assert found.label.attrs["flag_meanings"] == "no_sub cdm vortex"
    assert found.deflection.attrs["units"] == "arcsec"
    assert found.attrs["recipe_digest"] == viewed.stored.digest
    assert found.sample_id.values.tolist() == viewed.read("train", "sample_id").tolist()
    assert set(xarray_view(viewed, "val", ["label"]).data_vars) == {"label"}
