"""Other people's files: PSF kernels in .npy and FITS, and everything else that may lie there."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from schemas.errors import RecipeError
from storage import foreign
from storage.foreign import read_kernel

KERNEL = np.arange(9.0).reshape(3, 3) / 36


def refusal(path: Path) -> str:
    with pytest.raises(RecipeError) as caught:
        read_kernel(path)
    assert caught.value.expected
    assert "instrument.psf.path" in caught.value.where
    assert caught.value.advice
    return str(caught.value)


def test_npy_is_read_exactly(tmp_path: Path) -> None:
    np.save(tmp_path / "psf.npy", KERNEL)
    assert read_kernel(tmp_path / "psf.npy").tobytes() == KERNEL.tobytes()


@pytest.mark.parametrize("name", ["psf.fits", "psf.fit", "PSF.FITS"])
def test_fits_is_read_exactly(tmp_path: Path, name: str) -> None:
    fits.PrimaryHDU(KERNEL).writeto(tmp_path / name)
    found = read_kernel(tmp_path / name)
    assert found.tobytes() == KERNEL.tobytes()
    assert found.dtype.isnative


def test_the_first_image_of_a_fits_file_counts(tmp_path: Path) -> None:
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(KERNEL), fits.ImageHDU(2 * KERNEL)]).writeto(
        tmp_path / "psf.fits"
    )
    assert read_kernel(tmp_path / "psf.fits").tobytes() == KERNEL.tobytes()


@pytest.mark.parametrize("dtype", [np.float32, ">f8", np.int16, np.uint8])
def test_other_numbers_become_doubles(tmp_path: Path, dtype: Any) -> None:
    np.save(tmp_path / "psf.npy", np.eye(3).astype(dtype))
    assert read_kernel(tmp_path / "psf.npy").tolist() == np.eye(3).tolist()


@pytest.mark.parametrize(
    "values", [np.zeros(3), np.zeros((1, 3, 3)), np.array(1.0), np.zeros((3, 3), complex)]
)
def test_what_is_no_image_is_refused(tmp_path: Path, values: np.ndarray) -> None:
    np.save(tmp_path / "psf.npy", values)
    assert f"holds {values.dtype} of shape {values.shape}" in refusal(tmp_path / "psf.npy")


def test_pickles_are_refused_and_never_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "psf.npy", np.array([[{"a": 1}]], dtype=object), allow_pickle=True)
    assert "cannot be read" in refusal(tmp_path / "psf.npy")


@pytest.mark.parametrize("name", ["psf.npy", "psf.fits"])
@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"hello", b"\x00" * 100, b"SIMPLE  =    T"])
def test_broken_files_are_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert "cannot be read" in refusal(tmp_path / name)


def test_a_fits_file_without_image_is_refused(tmp_path: Path) -> None:
    fits.PrimaryHDU().writeto(tmp_path / "psf.fits")
    assert "it has no image" in refusal(tmp_path / "psf.fits")


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.npy").mkdir()
    assert "does not exist" in refusal(tmp_path / "none.npy")
    assert "is no file" in refusal(tmp_path / "folder.npy")
    assert refusal(Path("a\0b.npy"))


def test_another_suffix_is_refused(tmp_path: Path) -> None:
    (tmp_path / "psf.png").write_bytes(b"x")
    assert "neither .npy nor FITS" in refusal(tmp_path / "psf.png")


def test_huge_files_are_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "psf.npy", KERNEL)
    monkeypatch.setattr(foreign, "MOST_BYTES", 100)
    assert "has 200 bytes" in refusal(tmp_path / "psf.npy")
