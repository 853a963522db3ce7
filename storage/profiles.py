"""Number formats of maps: float32 as they are, or codes of 16 bits with scale and offset.

A code k of 0 to 65534 stands for `offset + scale * k`, computed in float32; scale and offset belong to one
sample and channel, so that arrays do not depend on shards (`docs/decisions/0013-scale-per-image.md`). 65535
is never emitted and reads as NaN. An image is off by at most half its scale plus `ROUNDING` of its largest
absolute value: half a step, and what single precision rounds away.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import ColumnError
from schemas.store import SCALE, MapError, StorePlan
from storage.backend import Arrays

MOST_CODE, NOTHING = 65534, 65535
# In units of 2**-24, half of float32's epsilon: subtraction, division and multiplication each round a number
# of the range's size, at most twice the largest value; the last addition rounds one of that value's size.
ROUNDING = 8 * 2.0**-24
# Below the normal numbers of float32, rounding is absolute.
SUBNORMAL = float(np.finfo(np.float32).smallest_subnormal)
# Values treated together: floats, codes and their differences stay in a core's cache.
BLOCK_VALUES = 1 << 15

Codes = NDArray[np.uint16]
Floats = NDArray[np.float32]
# Arrays as they are stored, and how far off the maps among them are.
Encoded = tuple[Arrays, tuple[MapError, ...]]


def encode(plan: StorePlan, arrays: Arrays) -> Encoded:
    """A shard's arrays as they are stored, and how far off the maps are. Too far is refused."""
    stored: dict[str, NDArray[Any]] = {}
    errors = []
    for spec in plan.decoded:
        if plan.is_quantised(spec.name):
            codes, scales, error = quantise(arrays[spec.name], spec.name)
            stored |= {spec.name: codes, spec.name + SCALE: scales}
            errors.append(error)
        else:
            stored[spec.name] = arrays[spec.name]
    return stored, tuple(errors)


def quantise(values: Floats, name: str = "image") -> tuple[Codes, Floats, MapError]:
    """Codes of maps `(n, channels, y, x)`, scale and offset `(n, channels, 2)`, and the worst error.

    What was encoded is decoded and compared with the values, every one of them.
    """
    images = np.ascontiguousarray(values, np.float32).reshape(values.shape[0] * values.shape[1], -1)
    codes = np.empty(images.shape, np.uint16)
    scales = np.empty((len(images), 2), np.float32)
    worst = bound = 0.0
    together = max(1, BLOCK_VALUES // max(1, images.shape[1]))
    work = np.empty((together, images.shape[1]), np.float32)
    for first in range(0, len(images), together):
        some = slice(first, first + together)
        here = images[some]
        error, allowed = _quantise_block(here, codes[some], scales[some], work[: len(here)])
        beyond = np.flatnonzero(~(error <= allowed))
        if len(beyond):
            at = int(beyond[0])
            raise ColumnError(
                f"{name}: image {(first + at) // values.shape[1]} cannot be quantised: off by"
                f" {error[at]:.3g}, more than {allowed[at]:.3g}",
                expected="finite numbers whose range is one of float32",
                advice="store it with storage.profile=float32",
            )
        worst, bound = max(worst, float(error.max())), max(bound, float(allowed.max()))
    error_of_map = MapError(map=name, worst=worst, bound=bound)
    return codes.reshape(values.shape), scales.reshape(*values.shape[:2], 2), error_of_map


def _quantise_block(
    images: Floats, codes: Codes, scales: Floats, work: Floats
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fill codes and scales of a few images; the worst error of each and its bound."""
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        low, high = images.min(axis=1), images.max(axis=1)
        scale = _scales(low, high)
        scales[:, 0], scales[:, 1] = scale, low
        np.subtract(images, low[:, None], out=work)
        # an image of one value has scale 0 and code 0
        work /= np.where(scale > 0, scale, np.float32(1))[:, None]
        np.rint(work, out=work)
        np.copyto(codes, work, casting="unsafe")
        _decode_block(codes, scales, work)
        work -= images
        worst = np.maximum(work.max(axis=1), -work.min(axis=1)).astype(np.float64)
        largest = np.maximum(np.abs(low), np.abs(high)).astype(np.float64)
        return worst, _bounds(scale.astype(np.float64), largest)


def _scales(low: Floats, high: Floats) -> Floats:
    """Steps that lead from the lowest to the highest in 65534, rounded up so that no code lies beyond."""
    exact = (high.astype(np.float64) - low) / MOST_CODE
    scale = exact.astype(np.float32)
    return np.where(scale < exact, np.nextafter(scale, np.float32(np.inf)), scale)


def decode(codes: Codes, scales: Floats, into: Floats | None = None) -> Floats:
    """The values behind codes `(n, channels, y, x)`; NaN where nothing was ever stored."""
    values = np.empty(codes.shape, np.float32) if into is None else into
    if not len(codes):
        return values
    images = values.reshape(codes.shape[0] * codes.shape[1], -1)
    flat, pairs = codes.reshape(images.shape), scales.reshape(-1, 2)
    together = max(1, BLOCK_VALUES // max(1, images.shape[1]))
    for first in range(0, len(images), together):
        some = slice(first, first + together)
        _decode_block(flat[some], pairs[some], images[some])
        if flat[some].max(initial=0) == NOTHING:
            images[some][flat[some] == NOTHING] = np.nan
    return values


def errors(values: Floats, codes: Codes, scales: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How far each image `(n, channels)` is off behind its codes, and how far it may be."""
    images, pairs = values.reshape(*values.shape[:2], -1), scales.astype(np.float64)
    off = np.abs(decode(codes, scales).reshape(images.shape) - images).max(axis=2)
    largest = np.maximum(np.abs(images.min(axis=2)), np.abs(images.max(axis=2)))
    return off.astype(np.float64), _bounds(pairs[..., 0], largest.astype(np.float64))


def _bounds(scale: NDArray[np.float64], largest: NDArray[np.float64]) -> NDArray[np.float64]:
    """Half a step, and what single precision rounds away."""
    return scale * 0.5 + ROUNDING * largest + SUBNORMAL


def _decode_block(codes: Codes, scales: Floats, into: Floats) -> None:
    np.copyto(into, codes)
    into *= scales[:, :1]
    into += scales[:, 1:]
