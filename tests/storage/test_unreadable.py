"""Files that are not what their name says are told in words of ours: what they are, and what to do."""

import gzip
import io
import pickle
import re
import warnings
import zipfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from astropy.io import fits

from schemas.errors import WriteError
from storage.files.array_file import mapped, read_header
from storage.files.unreadable import UnreadableError, not_a, reason
from storage.foreign import read_fits
from storage.importing.archives import npz_arrays
from tests.sources import by_sample, folders, images, imported, refused

STACK = images(30, 9)
# what numpy, h5py, astropy and zipfile say for themselves
LIBRARIES = re.compile(
    r"allow_pickle|magic string|synchronously|signature|ignore_missing|No SIMPLE|zip file|CRC|codec|Errno"
    r"|load it unsafely|memory-map|buffer is too small|lensmill-npz|corrupt"
)


def _whole(ending: str) -> bytes:
    into = io.BytesIO()
    if ending == "npy":
        np.save(into, STACK)
    if ending == "npz":
        np.savez(into, a=STACK)
    if ending == "fits":
        fits.PrimaryHDU(STACK).writeto(into)
    if ending == "h5":
        with h5py.File(into, "w") as file:
            file.create_dataset("a", data=STACK, chunks=(5, 12, 12), compression="gzip", fletcher32=True)
    return into.getvalue()


WHOLE = {ending: _whole(ending) for ending in ("npy", "npz", "fits", "h5")}
FORMS = {"npy": ".npy file", "npz": ".npz file", "fits": "FITS file", "h5": "HDF5 file"}


def _refusal(path: Path) -> str:
    lines = refused(path)
    said = "\n".join(lines)
    assert not LIBRARIES.search(said), said
    assert any(line.startswith("  expected: ") for line in lines)
    assert any(line.startswith("  to do: ") for line in lines)
    return said


CONTENTS = {
    "text": (b"hello world\nand more", "(it begins with 'hello world')"),
    "long text": (b"a" * 100, f"(it begins with '{'a' * 24}')"),
    "a pickle": (pickle.dumps([1, 2]), "(it is a pickle by its first bytes)"),
    "bytes": (b"\x00\x01\xfe" * 30, "(it begins with the bytes 00 01 fe 00 01 fe 00 01)"),
    "letters that are cut": ("ы".encode() * 40, "(it begins with 'ыыыыыыыыыыыы')"),
    "what a terminal obeys": (b"\x1b[31mred", "(it begins with the bytes 1b 5b"),
    "a pointer": (b"version https://git-lfs.github.com/spec/v1\noid", "whose content was not fetched"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(90), "(it is a PNG picture by its first bytes)"),
}


@pytest.mark.parametrize("ending", FORMS)
@pytest.mark.parametrize("what", CONTENTS)
def test_files_of_another_kind(tmp_path: Path, ending: str, what: str) -> None:
    content, says = CONTENTS[what]
    (tmp_path / f"x.{ending}").write_bytes(content)
    said = _refusal(tmp_path / f"x.{ending}")
    assert f"it is no {FORMS[ending]} (" in said
    assert says in said


@pytest.mark.parametrize("ending", FORMS)
@pytest.mark.parametrize("other", ["npy", "npz", "fits", "h5"])
def test_files_with_another_ending(tmp_path: Path, ending: str, other: str) -> None:
    if ending == other:
        return
    (tmp_path / f"x.{ending}").write_bytes(WHOLE[other])
    said = _refusal(tmp_path / f"x.{ending}")
    assert f"it is no {FORMS[ending]} (it is a" in said
    assert "by its first bytes)" in said


@pytest.mark.parametrize("ending", FORMS)
def test_empty_files(tmp_path: Path, ending: str) -> None:
    (tmp_path / f"x.{ending}").write_bytes(b"")
    assert "it is empty" in _refusal(tmp_path / f"x.{ending}")


@pytest.mark.parametrize("ending", FORMS)
@pytest.mark.parametrize("kept", [12, 100, 0.3, 0.9])
def test_files_that_are_cut_off(tmp_path: Path, ending: str, kept: float) -> None:
    content = WHOLE[ending]
    (tmp_path / f"x.{ending}").write_bytes(content[: int(kept if kept > 1 else kept * len(content))])
    with warnings.catch_warnings():
        # what a library tells beside its error is as bad
        warnings.simplefilter("error")
        said = "\n".join(refused(tmp_path / f"x.{ending}"))
    assert not LIBRARIES.search(said), said
    assert re.search(r"cut off|damaged", said)


def test_damage_inside_of_files(tmp_path: Path) -> None:
    for ending, at in (("npz", 3000), ("h5", 5000)):
        content = bytearray(WHOLE[ending])
        content[at : at + 50] = bytes(50)
        (tmp_path / f"x.{ending}").write_bytes(content)
        said = "\n".join(refused(tmp_path / f"x.{ending}"))
        assert not LIBRARIES.search(said), said
        assert "damaged" in said


@pytest.mark.parametrize("fault", ["cut", "damaged", "of text"])
def test_packed_fits_files_are_read_to_their_end(tmp_path: Path, fault: str) -> None:
    packed = bytearray(gzip.compress(WHOLE["fits"]))
    # the checksum stands at the end, behind all that astropy asks for
    packed[-8] ^= 1
    content = {"cut": packed[:-9], "damaged": packed, "of text": gzip.compress(b"no image")}[fault]
    (tmp_path / "x.fits.gz").write_bytes(content)
    said = _refusal(tmp_path / "x.fits.gz")
    assert ("what is in it is no FITS file" if fault == "of text" else "cut off or damaged") in said
    (tmp_path / "s" / "a").mkdir(parents=True)
    (tmp_path / "s" / "a" / "0.fits.gz").write_bytes(content)
    assert ("no FITS file" if fault == "of text" else "cut off or damaged") in "\n".join(
        refused(tmp_path / "s")
    )


@pytest.mark.parametrize("content", [b"not an array", b"", WHOLE["npy"][:90]], ids=["text", "empty", "cut"])
def test_members_of_an_archive_are_named(tmp_path: Path, content: bytes) -> None:
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("a.npy", WHOLE["npy"])
        archive.writestr("readme.txt", "no array at all")
        archive.writestr("b.npy", content)
    assert "x.npz cannot be read: b.npy in it: it is " in _refusal(tmp_path / "x.npz")


def test_unpacking_to_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "x.npz").write_bytes(WHOLE["npz"])
    monkeypatch.setattr("shutil.copyfileobj", full)
    with ExitStack() as opened, pytest.raises(WriteError, match="No space left") as caught:
        npz_arrays(tmp_path / "x.npz", opened)
    assert "TMPDIR" in caught.value.advice


def test_files_of_images_are_told_by_the_same_words(tmp_path: Path) -> None:
    source = folders(tmp_path / "s", {"a": 4, "b": 1})
    (source / "a/000.npy").write_bytes(b"hello")
    (source / "a/001.npy").write_bytes(b"")
    (source / "a/002.npy").write_bytes(pickle.dumps(1))
    np.save(source / "a/003.npy", np.zeros((12, 12), complex))
    (source / "a/004.npy").write_bytes(WHOLE["npy"][:-1])
    size = len(WHOLE["npy"])
    assert sorted(refused(source)[1:6]) == [
        "  - a/000.npy: it is no .npy file (it begins with 'hello')",
        "  - a/001.npy: it is empty",
        "  - a/002.npy: it is no .npy file (it is a pickle by its first bytes)",
        "  - a/003.npy: it holds complex128, not real numbers",
        "  - a/004.npy: it is cut off: too short for (30, 12, 12) of float64,"
        f" {size - 1:,} of {size:,} bytes",
    ]


def test_fits_files_may_be_packed(tmp_path: Path) -> None:
    """astropy unpacks a file; of what is in memory it does not see that it is packed."""
    (tmp_path / "x.fits").write_bytes(gzip.compress(WHOLE["fits"]))
    assert len(by_sample(imported(tmp_path / "x.fits", tmp_path / "o.zarr"))) == 30
    plain = read_fits(io.BytesIO(WHOLE["fits"]))
    np.testing.assert_array_equal(read_fits(io.BytesIO(gzip.compress(WHOLE["fits"]))), plain)


def test_what_unpacks_to_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.foreign.MOST_UNPACKED", 100)
    with pytest.raises(UnreadableError, match="unpacks to more than 100 bytes"):
        read_fits(io.BytesIO(gzip.compress(WHOLE["fits"])))


def test_fits_files_of_images(tmp_path: Path) -> None:
    (tmp_path / "s/a").mkdir(parents=True)
    (tmp_path / "s/a/0.fits").write_bytes(b"hello")
    (tmp_path / "s/a/1.fits").write_bytes(b"")
    (tmp_path / "s/a/2.fits").write_bytes(WHOLE["fits"][:4000])
    said = refused(tmp_path / "s")
    assert said[1:4] == [
        "  - a/0.fits: it is no FITS file (it begins with 'hello')",
        "  - a/1.fits: it is empty",
        "  - a/2.fits: it is a FITS file that is cut off or damaged",
    ]


@pytest.mark.parametrize("ending", ["csv", "npy"])
def test_tables(tmp_path: Path, ending: str) -> None:
    np.save(tmp_path / "images.npy", STACK)
    path = tmp_path / f"params.{ending}"
    form = {"csv": "CSV table in UTF-8", "npy": ".npy file"}[ending]
    for content, says in (
        (b"", "it is empty"),
        (WHOLE["h5"], f"it is no {form} (it is an HDF5 file by its first bytes)"),
        (b"\xff\xfe\x00" * 9, f"it is no {form} (it begins with the bytes ff fe 00"),
    ):
        path.write_bytes(content)
        assert says in _refusal(tmp_path / "images.npy")


def test_a_file_that_nobody_may_read(tmp_path: Path) -> None:
    """Its own folder stands for one, since root may read everything."""
    for ending in FORMS:
        with pytest.raises(Exception, match=r"Is a directory|there is nothing") as caught:
            refused_folder(tmp_path / f"x.{ending}")
        assert "Errno" not in str(caught.value)


def refused_folder(path: Path) -> None:
    """A folder where an array is expected."""
    path.mkdir()
    mapped(path)


# -- headers


def _header(shape: Any, descr: str = "<f8") -> bytes:
    into = io.BytesIO()
    header = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(into, header)
    return into.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        _header((-1, 4)),
        b"\x93NUMPY\x01\x00\x10\x00" + b"{" * 16,
        b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 70_000,
        b"\x93NUMPY\x09\x00v\x00" + b" " * 200,
        b"\x93NUM",
        _header((4, 4), "<f8").replace(b"<f8", b"<q9"),
    ],
    ids=["negative", "no dictionary", "brackets", "version 9", "cut in its magic", "no type"],
)
def test_broken_headers(content: bytes) -> None:
    with pytest.raises(UnreadableError, match=r"cut off or damaged in its header|no \.npy file"):
        read_header(io.BytesIO(content), len(content))


def test_names_of_fields_may_be_any_letters(tmp_path: Path) -> None:
    array = np.zeros(3, [("масса", float)])
    with pytest.warns(UserWarning, match="3"):
        np.save(tmp_path / "t.npy", array)
    found = mapped(tmp_path / "t.npy")
    assert found.dtype.names == ("масса",)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(13, "Permission denied"), "Permission denied"),
        (ValueError("a\nb"), "a"),
        (KeyError(), "KeyError"),
    ],
    ids=["system", "lines", "silent"],
)
def test_reasons_are_one_line(error: Exception, says: str) -> None:
    assert reason(error) == says


def test_what_is_told_has_a_kind_without_figures() -> None:
    one, other = (not_a("FITS file", content) for content in (b"hello", b"other"))
    assert str(one) != str(other)
    assert one.kind == other.kind == "it is no FITS file"
