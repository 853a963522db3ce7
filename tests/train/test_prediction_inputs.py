"""Predictions on FITS, HDF5, .npz, folders, and on what is odd or broken in them."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pytest
from astropy.io import fits

from flows.generate import Order
from schemas.errors import DataError, RecipeWarning, UnknownNameError
from storage.reader import Store
from train import predict as prediction
from train.predict import predict

SCALE = 0.101


@pytest.fixture(scope="module")
def images(sound: Store) -> Any:
    """Twelve images that the models were made for."""
    return sound.read("test", "image")


@pytest.fixture(scope="module")
def expected(classifier: Path, sound_store: Order) -> pa.Table:
    """What a model says of them."""
    return predict(classifier, [sound_store.root])


def _same(found: pa.Table, expected: pa.Table) -> bool:
    assert found["predicted"].to_pylist() == expected["predicted"].to_pylist()
    one, other = found["probability_cdm"].to_numpy(), expected["probability_cdm"].to_numpy()
    return bool(np.allclose(one, other, rtol=1e-5))


def _fits(path: Path, values: Any, **header: Any) -> Path:
    unit = fits.PrimaryHDU(values)
    unit.header.update(header)
    unit.writeto(path)
    return path


def _hdf5(path: Path, arrays: dict[str, Any], **attributes: Any) -> Path:
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[name] = values
        file.attrs.update(attributes)
    return path


def _npz(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


WRITERS: dict[str, Callable[[Path, Any], Path]] = {
    "x.fits": lambda path, values: _fits(path, values[:, 0].astype(">f4")),
    "X.FITS.gz": lambda path, values: _fits(path, values[:, 0]),
    "x.h5": lambda path, values: _hdf5(path, {"data/images": values, "labels": np.zeros(len(values))}),
    "x.npz": lambda path, values: _npz(path, images=values, labels=np.zeros(len(values))),
}


@pytest.mark.parametrize("name", WRITERS)
def test_files_of_other_forms(
    classifier: Path,
    images: Any,
    expected: pa.Table,
    tmp_path: Path,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("train.predict.BATCH", 5)
    path = WRITERS[name](tmp_path / name, images)
    assert _same(predict(classifier, path), expected)


def test_a_folder_is_the_files_in_it(
    classifier: Path, images: Any, expected: pa.Table, tmp_path: Path
) -> None:
    (tmp_path / "readme.txt").write_text("not an image")
    for number, image in enumerate(images[:, 0]):
        _fits(tmp_path / f"{number:02d}.fits", image)
    told = []

    class Bar:
        def __init__(self, total: int) -> None:
            told.append(total)

        def __enter__(self) -> Any:
            return told.append

        def __exit__(self, *_: Any) -> None: ...

    found = predict(classifier, tmp_path, bar=Bar)
    assert _same(found, expected)
    assert told == [12, *range(1, 13)]
    assert found["file"].to_pylist()[3] == str(tmp_path / "03.fits")
    assert found["image"].to_pylist() == [0] * 12


def test_the_unit_of_a_fits_file(classifier: Path, images: Any, tmp_path: Path) -> None:
    """As drizzled images have them: science, weights, context."""
    units = [fits.PrimaryHDU(), fits.ImageHDU(np.zeros((16, 16)), name="ERR")]
    units.append(fits.ImageHDU(images[0, 0], name="SCI"))
    path = tmp_path / "x.fits"
    fits.HDUList(units).writeto(path)
    with pytest.warns(RecipeWarning, match=r"x.fits has other images as well, in HDU 1 \(ERR\)"):
        left_out = predict(classifier, path)
    for hdu in ("2", "sci"):
        assert predict(classifier, path, hdu=hdu).equals(left_out)
    assert not predict(classifier, path, hdu="err").equals(left_out)
    with pytest.raises(DataError, match="no image in HDU 7") as caught:
        predict(classifier, path, hdu="7")
    assert "1 (ERR), 2 (SCI)" in caught.value.expected


def test_the_array_of_an_hdf5_file(classifier: Path, images: Any, expected: pa.Table, tmp_path: Path) -> None:
    path = _hdf5(tmp_path / "x.h5", {"images": images, "noise": np.zeros_like(images)})
    with pytest.raises(DataError, match="2 arrays that may be images") as caught:
        predict(classifier, path)
    assert "images (12, 1, 16, 16), noise" in str(caught.value)
    assert _same(predict(classifier, path, dataset="/images"), expected)
    with pytest.raises(DataError, match="has no array 'x'") as caught:
        predict(classifier, path, dataset="x")
    assert caught.value.advice == "correct --dataset, or leave it out"


@pytest.mark.parametrize("option", ["dataset", "hdu"])
def test_an_option_that_would_do_nothing_is_refused(
    classifier: Path, images: Any, expected: pa.Table, tmp_path: Path, option: str
) -> None:
    np.save(tmp_path / "x.npy", images)
    with pytest.raises(DataError, match=f"--{option} 0 is given, and none of the files is") as caught:
        predict(classifier, tmp_path / "x.npy", **{option: "0"})  # type: ignore[arg-type]
    assert caught.value.advice == f"leave --{option} out"
    _fits(tmp_path / "y.fits", images[:, 0])
    _npz(tmp_path / "y.npz", **{"0": images})
    assert predict(classifier, tmp_path, **{option: "0"}).num_rows == 36  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "says", "advice"),
    [
        ("none.npy", "there is no such file", "check the path"),
        ("folder", "it has no file of them", "name the files"),
        ("x.npy.gz", "cannot read images from", "only FITS files are read packed"),
        ("x.png", "cannot read images from", "lensmill import"),
    ],
)
def test_paths_without_images(classifier: Path, tmp_path: Path, name: str, says: str, advice: str) -> None:
    (tmp_path / "folder").mkdir()
    for other in ("x.npy.gz", "x.png"):
        (tmp_path / other).write_bytes(b"x")
    with pytest.raises(DataError, match=says) as caught:
        predict(classifier, tmp_path / name)
    assert name in caught.value.found
    assert advice in caught.value.advice


def test_what_float32_cannot_hold_and_channels_that_stand_last(
    classifier: Path, images: Any, tmp_path: Path
) -> None:
    np.save(tmp_path / "large.npy", np.full((2, 16, 16), 1e300))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DataError, match="2 images hold NaN or infinity") as caught:
            predict(classifier, tmp_path / "large.npy")
    assert "float32" in caught.value.expected
    np.save(tmp_path / "last.npy", np.moveaxis(images, 1, -1))
    with pytest.raises(DataError, match="images of 16 x 16 x 1") as caught:
        predict(classifier, tmp_path / "last.npy")
    assert "numpy.moveaxis(images, -1, 1)" in caught.value.advice


HEADERS = {
    "a WCS": {
        "CTYPE1": "RA---TAN",
        "CTYPE2": "DEC--TAN",
        "CD1_1": -0.05 / 3600,
        "CD1_2": 0.0,
        "CD2_1": 0.0,
        "CD2_2": 0.05 / 3600,
    },
    "turned axes": {"CD1_1": 0.03 / 3600, "CD2_1": 0.04 / 3600},
    "steps": {"CDELT1": -0.05 / 3600, "CDELT2": 0.05 / 3600},
    "steps in arcseconds": {"CDELT1": 0.05, "CUNIT1": "arcsec"},
    "axes turned by a right angle": {"CD1_1": 0.0, "CD2_1": 0.05 / 3600, "CD1_2": 0.05 / 3600, "CD2_2": 0.0},
    "a keyword": {"PIXSCALE": 0.05},
}


@pytest.mark.parametrize("kind", HEADERS)
def test_pixels_of_another_size_are_warned_of(
    classifier: Path, images: Any, tmp_path: Path, kind: str
) -> None:
    path = _fits(tmp_path / "x.fits", images[:, 0], **HEADERS[kind])
    with pytest.warns(RecipeWarning, match=r"pixels are 0\.05 arcsec in .*x\.fits and were 0\.101 arcsec"):
        predict(classifier, path)


LONGER = 1.03 * SCALE
UNEQUAL: dict[str, Callable[[float], dict[str, Any]]] = {
    "a WCS": lambda side: HEADERS["a WCS"] | {"CD1_1": -SCALE / 3600, "CD2_2": side / 3600},
    "steps": lambda side: {"CDELT1": -SCALE / 3600, "CDELT2": side / 3600},
    "turned axes": lambda side: {"CD2_1": SCALE / 3600, "CD1_2": side / 3600},
}


@pytest.mark.parametrize("kind", UNEQUAL)
def test_pixels_that_are_not_square(classifier: Path, images: Any, tmp_path: Path, kind: str) -> None:
    path = _fits(tmp_path / "x.fits", images[:, 0], **UNEQUAL[kind](LONGER))
    with pytest.warns(
        RecipeWarning, match=r"pixels are 0\.101 x 0\.104 arcsec \(x, y\) in .*x\.fits and were 0\.101 arcsec"
    ):
        predict(classifier, path)
    path = _fits(tmp_path / "y.fits", images[:, 0], **UNEQUAL[kind](2 * SCALE))
    with pytest.raises(DataError, match=r"pixels are 0\.101 x 0\.202 arcsec \(x, y\) in .*y\.fits") as caught:
        predict(classifier, path)
    assert caught.value.expected == "sides alike within 5%; they were 0.101 arcsec in training"
    assert "square pixels" in caught.value.advice


def test_pixels_of_the_same_size_are_not(classifier: Path, images: Any, tmp_path: Path) -> None:
    paths = [
        _fits(tmp_path / "wcs.fits", images[:, 0], CDELT1=-SCALE / 3600, CDELT2=SCALE / 3600),
        _fits(tmp_path / "none.fits", images[:, 0], CDELT1=1.0),
        _hdf5(tmp_path / "x.h5", {"images": images}, pixel_scale_arcsec=1.004 * SCALE),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        predict(classifier, paths)
    other = _hdf5(tmp_path / "y.h5", {"images": images}, pixel_scale=0.2)
    with pytest.warns(RecipeWarning, match=r"pixels are 0\.2 arcsec in .*y\.h5 and were 0\.101"):
        predict(classifier, other)


def test_a_store_of_another_pixel_scale(classifier: Path, another_store: Callable[..., Path]) -> None:
    other = another_store("seed=78", "instrument={kind: preset, name: hst_wfc3_f160w, num_pix: 16}")
    with pytest.warns(RecipeWarning, match=r"pixels are 0\.\d+ arcsec .* 0\.101 arcsec in training"):
        predict(classifier, other)


def test_broken_images_are_named_or_left_empty(
    classifier: Path, regressor: Path, images: Any, expected: pa.Table, tmp_path: Path
) -> None:
    broken = images.copy()
    broken[[2, 7], 0, 3, 3] = np.nan, np.inf
    np.save(tmp_path / "a.npy", broken)
    _fits(tmp_path / "b.fits", broken[5:, 0])
    paths = [tmp_path / "a.npy", tmp_path / "b.fits"]
    with pytest.raises(DataError) as caught:
        predict(classifier, paths, tmp_path / "out.csv")
    assert "a.npy: 2 images hold NaN or infinity (the first is image 2; all: 2, 7)" in str(caught.value)
    assert "b.fits: 1 image holds NaN or infinity (the first is image 2)" in str(caught.value)
    assert "--skip-bad" in caught.value.advice
    assert not (tmp_path / "out.csv").exists()
    found = predict(classifier, paths[0], tmp_path / "out.csv", skip_bad=True)
    good = [n for n in range(12) if n not in (2, 7)]
    assert [n for n, told in enumerate(found["fault"].to_pylist()) if told] == [2, 7]
    assert [n for n, value in enumerate(found["predicted"].to_pylist()) if value is None] == [2, 7]
    assert _same(found.take(good), expected.take(good))
    assert pa_csv.read_csv(tmp_path / "out.csv")["probability_cdm"].null_count == 2
    assert predict(regressor, paths, skip_bad=True)["predicted_theta_E"].null_count == 3


def test_all_files_that_cannot_be_used_are_told(classifier: Path, images: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "good.npy", images)
    np.save(tmp_path / "large.npy", np.zeros((2, 20, 20)))
    (tmp_path / "text.fits").write_text("hello")
    with pytest.raises(DataError, match="2 of 3 files cannot be used") as caught:
        predict(classifier, tmp_path)
    assert "large.npy: images of 1 x 20 x 20" in str(caught.value)
    assert "text.fits: it is no FITS file (it begins with 'hello'); expected a .fits file" in str(
        caught.value
    )
    assert caught.value.expected == "1 x 16 x 16, as in the training data"
    assert str(caught.value).count("1 x 16 x 16") == 1


@pytest.mark.parametrize("name", ["x.npy", "x.fits", "x.h5"])
def test_a_download_that_was_cut_off(classifier: Path, images: Any, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "x.npy":
        np.save(path, images)
    else:
        WRITERS[name](path, images)
    whole = path.read_bytes()
    path.write_bytes(whole[:6000])
    with pytest.raises(DataError, match=rf"is cut off.* 6,000 of {len(whole):,} bytes") as caught:
        predict(classifier, path)
    assert "fetch or make the file again" in str(caught.value)


def test_memory_holds_a_batch_and_not_the_file(
    classifier: Path, images: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    plain = prediction.ImageStack.__getitem__

    def watched(stack: Any, rows: slice) -> Any:
        found = plain(stack, rows)
        seen.append(len(found))
        return found

    monkeypatch.setattr(prediction.ImageStack, "__getitem__", watched)
    monkeypatch.setattr("train.predict.BATCH", 5)
    for name, write in WRITERS.items():
        predict(classifier, write(tmp_path / name, images))
    assert seen == [5, 5, 2] * len(WRITERS)


def test_an_empty_split(classifier: Path, another_store: Callable[..., Path]) -> None:
    other = another_store("splits={train: 0.5, val: 0.5, test: 0}", "seed=78")
    with pytest.raises(
        UnknownNameError, match="unknown split 'test': the store has no sample in it"
    ) as caught:
        predict(classifier, other)
    assert "make a store with a test split" in caught.value.advice
