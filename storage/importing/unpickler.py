"""Arrays out of a pickle without running anything that it asks for.

`np.save` writes an object array, such as an image with its mass, as a pickle, and a pickle may call any
function. Here every name that an array needs leads to a stand-in that only keeps what it is given; any other
name is refused before it is looked up. numpy's own functions are not called either: a forged dtype can make
them take bytes for addresses.
"""

import math
import pickle
import re
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from storage.files.unreadable import UnreadableError

NUMBER = re.compile(r"[biuf]\d{1,2}")
ORDERS = ("<", ">", "=", "|")


class RefusedError(UnreadableError, pickle.UnpicklingError):
    """What a pickle asks for beyond arrays of numbers."""


class _DType:
    """A type of plain numbers, or `O`."""

    def __init__(self, code: str, *_: Any) -> None:
        self.code, self.order = code, "="

    def __setstate__(self, state: Any) -> None:
        # version, byte order; fields and sub-arrays are for structures, which nobody needs here
        if any(part is not None for part in state[2:5]) or state[1] not in ORDERS:
            raise RefusedError("it has a structured type")
        self.order = state[1]

    def numbers(self) -> "np.dtype[Any]":
        if not isinstance(self.code, str) or not NUMBER.fullmatch(self.code):
            raise RefusedError(f"it has the type {self.code!r}, which is no number")
        return np.dtype(self.order + self.code)


class _Array:
    """What a pickle says of an array."""

    shape: Any = ()
    dtype: Any = None
    fortran: Any = False
    content: Any = b""

    def __setstate__(self, state: Any) -> None:
        _, self.shape, self.dtype, self.fortran, self.content = state

    def numbers(self) -> NDArray[Any]:
        if not isinstance(self.dtype, _DType) or not isinstance(self.content, bytes | bytearray):
            raise RefusedError("it holds no array of numbers")
        order: Any = "F" if self.fortran is True else "C"
        return np.frombuffer(self.content, self.dtype.numbers()).reshape(self.shape, order=order)


def _reconstruct(kind: Any, *_: Any) -> _Array:
    if kind is not _Array:
        raise RefusedError("it asks to build something that is no array")
    return _Array()


def _from_buffer(buffer: Any, dtype: Any, shape: Any, order: Any) -> _Array:
    array = _Array()
    array.__setstate__((1, shape, dtype, order == "F", bytes(buffer)))
    return array


def _scalar(dtype: Any, content: Any) -> float:
    number = np.frombuffer(content, dtype.numbers())
    if number.shape != (1,):
        raise RefusedError("it holds a broken number")
    return float(number[0])


def _latin1(text: Any, encoding: Any) -> bytes:
    # how protocol 2 spells bytes
    if not isinstance(text, str) or encoding != "latin1":
        raise RefusedError("it asks for an encoding that arrays do not have")
    return text.encode("latin1")


# numpy 2 spells numpy.core as numpy._core
STAND_INS = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _DType,
    ("_codecs", "encode"): _latin1,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _reconstruct for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _from_buffer for core in ("core", "_core")},
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return STAND_INS[module, name]
        except KeyError:
            raise RefusedError(
                f"its pickle asks for {module}.{name}, which no array needs: refused, nothing was run"
            ) from None


def load_objects(file: IO[bytes]) -> list[Any]:
    """The entries of a pickled object array: arrays of numbers and plain values."""
    found = _Unpickler(file).load()
    if not isinstance(found, _Array) or not isinstance(found.content, list):
        raise RefusedError("its pickle holds no array of objects")
    if not isinstance(found.shape, tuple) or len(found.content) != math.prod(found.shape):
        raise RefusedError("its pickle holds a broken array of objects")
    return [entry.numbers() if isinstance(entry, _Array) else entry for entry in found.content]
