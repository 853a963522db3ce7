"""Object arrays are read without numpy's pickle and without running what a pickle asks for."""

import io
import os
import pickle
import pickletools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from storage.importing.images import read_npy
from storage.importing.unpickler import load_objects
from tests.sources import images, save_objects, with_mass

IMAGE = images(1)[0]


class _Evil:
    """Creates a folder when it is unpickled by anyone who trusts it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


class _Shell(_Evil):
    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize(
    "mass", [1e-23, np.float64(1e-23), np.float32(2.0), 3], ids=lambda m: type(m).__name__
)
@pytest.mark.parametrize(
    "image",
    [IMAGE, IMAGE.astype(">f4"), IMAGE.astype(np.uint8), np.asfortranarray(IMAGE), np.stack([IMAGE] * 3)],
    ids=["f8", "big endian", "u1", "fortran", "three channels"],
)
def test_image_and_mass_come_back(tmp_path: Path, protocol: int, mass: Any, image: Any) -> None:
    save_objects(tmp_path / "one.npy", with_mass(image, mass), protocol)
    content = (tmp_path / "one.npy").read_bytes()
    found = read_npy(content)
    assert found.values.dtype == image.dtype
    np.testing.assert_array_equal(found.values, image)
    assert found.mass == float(mass)


@pytest.mark.parametrize("core", ["numpy.core", "numpy._core"])
def test_both_spellings_of_numpy_are_known(core: str) -> None:
    text = pickle.dumps(with_mass(IMAGE, np.float64(2.0)), protocol=2)
    text = text.replace(b"numpy._core.", b"numpy.core.").replace(b"numpy.core.", f"{core}.".encode())
    image, mass = load_objects(io.BytesIO(text))
    np.testing.assert_array_equal(image, IMAGE)
    assert mass == 2.0


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("evil", [_Evil, _Shell])
def test_a_malicious_pickle_is_refused_by_name_and_runs_nothing(
    tmp_path: Path, evil: type[_Evil], protocol: int
) -> None:
    path = tmp_path / "created"
    save_objects(tmp_path / "one.npy", with_mass(evil(path), 1.0), protocol)
    content = (tmp_path / "one.npy").read_bytes()
    with pytest.raises(pickle.UnpicklingError, match=r"asks for \w+\.(mkdir|system)"):
        read_npy(content)
    assert not path.exists()
    # it does what it says where it is trusted
    np.load(io.BytesIO(content), allow_pickle=True)
    assert path.exists()


def test_forged_types_are_refused() -> None:
    """A dtype of objects without their flag would make numpy take bytes for addresses."""

    class Forged:
        def __reduce__(self) -> Any:
            return np.dtype, ("O", False, True), (3, "|", None, None, None, -1, -1, 0)

    class Array:
        def __reduce__(self) -> Any:
            from numpy._core.multiarray import _reconstruct

            return _reconstruct, (np.ndarray, (0,), b"b"), (1, (4, 4), Forged(), False, b"\1" * 128)

    text = pickle.dumps(with_mass(Array(), 1.0), protocol=4)
    assert "STACK_GLOBAL" in {op.name for op, *_ in pickletools.genops(text)}
    with pytest.raises(pickle.UnpicklingError, match="no number"):
        load_objects(io.BytesIO(text))


@pytest.mark.parametrize(
    "array",
    [
        np.array([1.0, None], dtype=object),
        with_mass(IMAGE, IMAGE),
        with_mass(1.0, IMAGE),
        with_mass(IMAGE, "heavy"),
        np.array([IMAGE, 1.0, 2.0], dtype=object),
    ],
    ids=["no image", "two images", "mass first", "text", "three"],
)
def test_other_objects_are_refused(tmp_path: Path, array: Any) -> None:
    np.save(tmp_path / "one.npy", array, allow_pickle=True)
    with pytest.raises(ValueError, match="not an image and its mass"):
        read_npy((tmp_path / "one.npy").read_bytes())


@pytest.mark.parametrize("kept", [0, 5, 40, 127, 128, 300, -1])
@pytest.mark.parametrize("pickled", [False, True])
def test_a_truncated_file_is_an_error(tmp_path: Path, kept: int, pickled: bool) -> None:
    np.save(tmp_path / "one.npy", with_mass(IMAGE, 1.0) if pickled else IMAGE, allow_pickle=True)
    content = (tmp_path / "one.npy").read_bytes()
    with pytest.raises((ValueError, EOFError, pickle.UnpicklingError)):
        read_npy(content[:kept])


def test_a_header_that_promises_too_much_takes_no_memory() -> None:
    into = io.BytesIO()
    header = {"descr": "<f8", "fortran_order": False, "shape": (1 << 40, 1 << 10)}
    np.lib.format.write_array_header_1_0(into, header)
    with pytest.raises(ValueError, match="cut off"):
        read_npy(into.getvalue() + bytes(100))
