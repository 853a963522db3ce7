"""Files of galaxies: read one by one, looked at once, refused when they are of another form."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from schemas.errors import RecipeError
from storage.importing import galaxy_file
from storage.importing.galaxy_file import GalaxyFile, check_same, look_at_galaxies
from tests.galaxies import galaxies


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A sound file of its own."""
    return Path(shutil.copy(galaxies(), tmp_path / "mine.h5"))


def test_a_table_tells_what_is_there(path: Path) -> None:
    table = look_at_galaxies(path)
    assert table.count == 8
    assert table.ans is not None
    assert table.redshift is not None
    assert table.ans.tolist() == [6, 6, 6, 6, 2, 6, 6, 6]
    assert (table.redshift < 0.02).sum() == 7
    assert len(table.sha256) == 64
    assert look_at_galaxies(path) is table, "looked at once"


def test_images_are_those_of_the_file_in_any_order(path: Path) -> None:
    with h5py.File(path) as file:
        expected = file["images"][:]
    found = GalaxyFile(path, look_at_galaxies(path).sha256)
    for numbers in ([3], [5, 0, 5], [7, 6, 5, 4, 3, 2, 1, 0]):
        images = found(np.array(numbers))
        assert images.dtype == np.uint8
        for image, number in zip(images, numbers, strict=True):
            assert image.tobytes() == expected[number].tobytes()


def test_only_what_is_asked_for_is_read_and_kept(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = GalaxyFile(path, look_at_galaxies(path).sha256)
    read: list[int] = []
    own = found._read

    def counted(images: Any, number: int) -> Any:
        read.append(number)
        return own(images, number)

    monkeypatch.setattr(found, "_read", counted)
    size = 128 * 128 * 3
    monkeypatch.setattr(galaxy_file, "KEPT_BYTES", 3 * size)
    found(np.array([1, 2]))
    found(np.array([2, 1, 1]))
    assert read == [1, 2]
    found(np.array([3, 4]))
    # room for three: the one asked for longest ago went
    found(np.array([1, 3, 4]))
    found(np.array([2]))
    assert read == [1, 2, 3, 4, 2]
    assert found(np.arange(8)).shape == (8, 128, 128, 3), "more than are kept"


def test_nothing_is_opened_before_it_is_needed(tmp_path: Path) -> None:
    reader = GalaxyFile(tmp_path / "none.h5", "0" * 64)
    with pytest.raises(RecipeError, match="does not exist"):
        reader(np.array([0]))


def test_compressed_files_are_read_too(path: Path, tmp_path: Path) -> None:
    with h5py.File(path) as file, h5py.File(tmp_path / "packed.h5", "w") as packed:
        packed.create_dataset("images", data=file["images"][:], chunks=(4, 32, 32, 1), compression="gzip")
    plain, found = (GalaxyFile(one, look_at_galaxies(one).sha256) for one in (path, tmp_path / "packed.h5"))
    assert found(np.array([6, 2])).tobytes() == plain(np.array([6, 2])).tobytes()


def test_a_file_that_changed_is_refused_and_looked_at_anew(path: Path) -> None:
    before = look_at_galaxies(path).sha256
    reader = GalaxyFile(path, before)
    with h5py.File(path, "r+") as file:
        file["images"][0, 0, 0, 0] += 1
    with pytest.raises(RecipeError, match="another than before") as caught:
        reader(np.array([0]))
    assert before in str(caught.value)
    assert "source.file=PATH" in str(caught.value)
    assert look_at_galaxies(path).sha256 != before
    check_same(look_at_galaxies(path), look_at_galaxies(path).sha256)


def _with(name: str, values: Any) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            del file[name]
            if values is not None:
                file[name] = values

    return change


IMAGES = np.zeros((8, 16, 16, 3), np.uint8)
BROKEN: dict[str, tuple[Callable[[Path], None], str]] = {
    "no images": (_with("images", None), "has no data set `images` (it holds ans, redshift)"),
    "images without colour": (_with("images", IMAGES[..., 0]), "has `images` of uint8 and shape (8, 16, 16)"),
    "four colours": (_with("images", np.zeros((8, 16, 16, 4), np.uint8)), "shape (8, 16, 16, 4)"),
    "colours first": (_with("images", IMAGES.transpose(0, 3, 1, 2)), "shape (8, 3, 16, 16)"),
    "floats": (_with("images", IMAGES.astype(np.float32)), "has `images` of float32"),
    "signed": (_with("images", IMAGES.astype(np.int8)), "has `images` of int8"),
    "words": (_with("images", "galaxies"), "has `images` of object and shape ()"),
    "empty": (_with("images", IMAGES[:0]), "has no galaxy"),
    "one pixel": (_with("images", IMAGES[:, :1, :1]), "images of 1 x 1 pixels"),
    "too few classes": (_with("ans", np.zeros(7)), "has `ans` as float64 of shape (7,) for 8 images"),
    "redshifts of words": (_with("redshift", np.array([b"z"] * 8)), "has `redshift` as |S1 of shape (8,)"),
    "not HDF5": (lambda path: path.write_bytes(b"images" * 100) and None, "cannot be read as HDF5"),
    "no byte": (lambda path: path.write_bytes(b"") and None, "cannot be read as HDF5"),
    "cut short": (
        lambda path: path.write_bytes(path.read_bytes()[:-1000]) and None,
        "cannot be read as HDF5",
    ),
    "gone": (lambda path: path.unlink(), "does not exist"),
    "a folder": (lambda path: path.unlink() or path.mkdir(), "is no file"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_file_of_another_form_says_what_it_has(path: Path, fault: str) -> None:
    change, says = BROKEN[fault]
    change(path)
    with pytest.raises(RecipeError) as caught:
        look_at_galaxies(path)
    message = str(caught.value)
    assert message.count("to do:") == 1
    for words in (says, str(path), "expected: HDF5 with `images` (N, y, x, 3) of uint8", "to do:"):
        assert words in message
