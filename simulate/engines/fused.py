"""The fast engine: compiled kernels render whole images, at lenstronomy's numbers.

`scene` and `camera` turn lens systems and detectors into what the loops of `simulate.kernels` need. Systems
with a profile that has no kernel are rendered by lenstronomy.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.instrument import Detector, KernelPSF, NoPSF
from simulate.batch import Array, LensBatch
from simulate.engines.camera import KernelSpread, cameras
from simulate.engines.reference import deflect_with_lenstronomy, render_with_lenstronomy
from simulate.engines.registry import DEFLECTIONS, ENGINES, IN_BANDS
from simulate.engines.scene import LIGHTS, MASSES, SHOWN, scene_of
from simulate.kernels import images as kernels
from simulate.kernels import tnfw
from simulate.kernels.images import Camera, Scene

# images whose fine grids wait for a kernel together
CONVOLVED_TOGETHER = 8
NOT_KEPT = np.empty((0, 2, 0, 0))
# lens systems -> one array with a row for each
Made = Callable[[Sequence[LensBatch]], Array]


class Precision(NamedTuple):
    """Where digits are given up for speed."""

    tabulated: bool
    singly: bool


def _register(name: str, precision: Precision) -> None:
    def render(systems: LensBatch, detector: Detector) -> NDArray[np.float64]:
        return _render((systems,), (detector,), precision)[:, 0]

    def render_bands(seen: Sequence[LensBatch], detectors: Sequence[Detector]) -> NDArray[np.float64]:
        return _render(seen, detectors, precision)

    def deflect(systems: LensBatch, detector: Detector) -> NDArray[np.float64]:
        return _deflect(systems, detector, precision)

    ENGINES.register(name)(render)
    IN_BANDS.register(name)(render_bands)
    DEFLECTIONS.register(name)(deflect)


# truncated NFW halos by cubics, to 1e-6 of their largest deflection
_register("fused", Precision(tabulated=True, singly=False))
# by their formula
_register("fused_exact", Precision(tabulated=False, singly=False))
# sums over point masses in single precision, to 5e-6 of the peak
_register("fused_float32", Precision(tabulated=True, singly=True))


def without_kernel(systems: LensBatch) -> dict[str, NDArray[np.int64]]:
    """Profiles of a batch that have no kernel here, with the rows that have them."""
    unknown = [
        *(group for group in systems.deflectors if group.profile not in MASSES),
        *(group for group in systems.source if group.profile not in LIGHTS + SHOWN),
        *(group for group in systems.lens_light if group.profile not in LIGHTS),
    ]
    return {
        name: np.unique(np.concatenate([group.owner for group in unknown if group.profile == name]))
        for name in {group.profile for group in unknown}
    }


def _render(
    seen: Sequence[LensBatch], detectors: Sequence[Detector], precision: Precision
) -> NDArray[np.float64]:
    """Images (rows, bands, y, x) of the same masses in the light of each band."""

    def ours(some: Sequence[LensBatch]) -> Array:
        return _render_known(some, detectors, precision)

    def theirs(some: Sequence[LensBatch]) -> Array:
        by_band = [render_with_lenstronomy(*one) for one in zip(some, detectors, strict=True)]
        return np.stack(by_band, axis=1)

    return _split(seen, ours, theirs)


def _deflect(systems: LensBatch, detector: Detector, precision: Precision) -> NDArray[np.float64]:
    """Deflections (rows, 2, y, x) at the centres of pixels."""
    dark = replace(systems, source=(), lens_light=())

    def ours(some: Sequence[LensBatch]) -> Array:
        return _deflect_known(some, detector, precision)

    def theirs(some: Sequence[LensBatch]) -> Array:
        return deflect_with_lenstronomy(some[0], detector)

    return _split((dark,), ours, theirs)


def _split(seen: Sequence[LensBatch], ours: Made, theirs: Made) -> Array:
    """Systems with a profile that has no kernel here go to lenstronomy."""
    unknown = without_kernel(seen[0])
    if not unknown:
        return ours(seen)
    slow = np.unique(np.concatenate(list(unknown.values())))
    fast = np.setdiff1d(np.arange(seen[0].rows), slow)
    found = ours([one.subset(fast) for one in seen])
    whole = np.empty((seen[0].rows, *found.shape[1:]))
    whole[fast] = found
    whole[slow] = theirs([one.subset(slow) for one in seen])
    return whole


def _deflect_known(seen: Sequence[LensBatch], detector: Detector, precision: Precision) -> Array:
    """By the same rays as for images, one from the centre of each pixel."""
    plain = detector.model_copy(update={"supersampling": 1, "psf": NoPSF()})
    rows, side = seen[0].rows, detector.num_pix
    found, dark = np.empty((rows, 2, side, side)), np.empty((rows, side, side))
    _fill(dark, 0, scene_of(seen), cameras((plain,)), precision, found)
    return found


def _render_known(
    seen: Sequence[LensBatch], detectors: Sequence[Detector], precision: Precision
) -> NDArray[np.float64]:
    if any(isinstance(detector.psf, KernelPSF) for detector in detectors):
        by_band = [_convolved(*one, precision) for one in zip(seen, detectors, strict=True)]
        return np.stack(by_band, axis=1)
    rows, side = seen[0].rows, detectors[0].num_pix
    images = np.empty((rows * len(seen), side, side))
    _fill(images, 0, scene_of(seen), cameras(tuple(detectors)), precision)
    return images.reshape(rows, len(seen), side, side)


def _convolved(systems: LensBatch, detector: Detector, precision: Precision) -> NDArray[np.float64]:
    """One band, with or without a kernel as its PSF; its fine grids wait for the kernel a few at a time."""
    if not isinstance(detector.psf, KernelPSF):
        return _render_known((systems,), (detector,), precision)[:, 0]
    scene, camera, spread = scene_of((systems,)), cameras((detector,)), KernelSpread(detector)
    images = np.empty((systems.rows, detector.num_pix, detector.num_pix))
    side = detector.num_pix * (detector.supersampling if detector.psf_on_fine_grid else 1)
    for start in range(0, systems.rows, CONVOLVED_TOGETHER):
        some = images[start : start + CONVOLVED_TOGETHER]
        sharp = np.empty((len(some), side, side))
        _fill(sharp, start, scene, camera, precision)
        some[:] = spread(sharp)
    return images


def _fill(
    images: Array,
    first: int,
    scene: Scene,
    camera: Camera,
    precision: Precision,
    alpha: Array = NOT_KEPT,
) -> None:
    halo_table = tnfw.table() if precision.tabulated and len(scene.halos.rows) else np.empty((0, 4, 0))
    kernels.render(scene, camera, halo_table, precision.tabulated, precision.singly, first, alpha, images)
