"""The fast engine: compiled kernels render whole images, at lenstronomy's numbers.

Here lens systems become the numbers that the loops of `simulate.kernels` need, whole batches at a time.
Systems with a profile that has no kernel are rendered by lenstronomy.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from schemas.instrument import Detector, GaussianPSF, KernelPSF
from simulate.batch import Array, Deflectors, LensBatch, Light, merge
from simulate.engines.reference import render_with_lenstronomy
from simulate.engines.registry import ENGINES, IN_BANDS
from simulate.kernels import images as kernels
from simulate.kernels import tnfw
from simulate.kernels.deflections import SIE_CORE_ARCSEC
from simulate.kernels.images import Camera, Group, Scene
from simulate.kernels.light import SMOOTHING_ARCSEC

MASSES = ("SHEAR", "SIE", "EPL", "POINT_MASS", "LINE", "TNFW")
LIGHTS = ("SERSIC_ELLIPSE",)
# a source can be an image too
SHOWN = ("INTERPOL",)
# images whose fine grids wait for a kernel together
CONVOLVED_TOGETHER = 8
FLATTEST = 0.9999
ROUNDEST_AXIS_RATIO = 0.99999999
# a term of the power law's series below this share of the first is lost in rounding
SMALLEST_TERM = 1e-17


class Precision(NamedTuple):
    """Where digits are given up for speed."""

    tabulated: bool
    singly: bool


def _register(name: str, precision: Precision) -> None:
    def render(systems: LensBatch, detector: Detector) -> NDArray[np.float64]:
        return _render((systems,), (detector,), precision)[:, 0]

    def render_bands(seen: Sequence[LensBatch], detectors: Sequence[Detector]) -> NDArray[np.float64]:
        return _render(seen, detectors, precision)

    ENGINES.register(name)(render)
    IN_BANDS.register(name)(render_bands)


# truncated NFW halos from a table, to 1e-6 of their largest deflection
_register("fused", Precision(tabulated=True, singly=False))
# by their formula
_register("fused_exact", Precision(tabulated=False, singly=False))
# sums over point masses in single precision, to 2e-5 of the peak
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
    systems, side = seen[0], detectors[0].num_pix
    unknown = without_kernel(systems)
    if not unknown:
        return _render_known(seen, detectors, precision)
    slow = np.unique(np.concatenate(list(unknown.values())))
    fast = np.setdiff1d(np.arange(systems.rows), slow)
    images = np.empty((systems.rows, len(seen), side, side))
    images[fast] = _render_known([one.subset(fast) for one in seen], detectors, precision)
    for band, (one, detector) in enumerate(zip(seen, detectors, strict=True)):
        images[slow, band] = render_with_lenstronomy(one.subset(slow), detector)
    return images


def _render_known(
    seen: Sequence[LensBatch], detectors: Sequence[Detector], precision: Precision
) -> NDArray[np.float64]:
    if any(isinstance(detector.psf, KernelPSF) for detector in detectors):
        by_band = [_convolved(*one, precision) for one in zip(seen, detectors, strict=True)]
        return np.stack(by_band, axis=1)
    rows, side = seen[0].rows, detectors[0].num_pix
    images = np.empty((rows * len(seen), side, side))
    _fill(images, 0, _scene(seen), _cameras(tuple(detectors)), precision)
    return images.reshape(rows, len(seen), side, side)


def _convolved(systems: LensBatch, detector: Detector, precision: Precision) -> NDArray[np.float64]:
    """One band, with or without a kernel as its PSF; its fine grids wait for the kernel a few at a time."""
    if not isinstance(detector.psf, KernelPSF):
        return _render_known((systems,), (detector,), precision)[:, 0]
    scene, camera, spread = _scene((systems,)), _cameras((detector,)), _Kernel(detector)
    images = np.empty((systems.rows, detector.num_pix, detector.num_pix))
    side = detector.num_pix * (detector.supersampling if detector.psf_on_fine_grid else 1)
    for start in range(0, systems.rows, CONVOLVED_TOGETHER):
        some = images[start : start + CONVOLVED_TOGETHER]
        sharp = np.empty((len(some), side, side))
        _fill(sharp, start, scene, camera, precision)
        some[:] = spread(sharp)
    return images


def _fill(images: Array, first: int, scene: Scene, camera: Camera, precision: Precision) -> None:
    tabulated = precision.tabulated and len(scene.halos.rows) > 0
    halo_table = tnfw.table() if tabulated else np.empty((0, 4, 0))
    kernels.render(scene, camera, halo_table, tabulated, precision.singly, first, images)


# -- the camera


@lru_cache(maxsize=32)
def _cameras(detectors: tuple[Detector, ...]) -> Camera:
    """Bands share the grid. A kernel on the fine grid is applied later: then its pixels are the image."""
    detector = detectors[0]
    factor = detector.supersampling
    step = detector.pixel_scale_arcsec / factor
    size = detector.num_pix * factor
    positions = np.asarray((np.arange(size) - (size - 1) / 2) * step)
    if isinstance(detector.psf, KernelPSF) and detector.psf_on_fine_grid:
        factor = 1
    weights = [_weights(one, factor, step) for one in detectors]
    reaches = np.array([(len(one) - factor) // 2 for one in weights])
    longest = max(len(one) for one in weights)
    in_fours = np.stack([np.pad(one, (0, longest - len(one) + -longest % 4)) for one in weights])
    return Camera(positions, factor, in_fours, reaches, detector.pixel_scale_arcsec**2)


def _weights(detector: Detector, factor: int, step: float) -> Array:
    weights = np.ones(factor) / factor
    if isinstance(detector.psf, GaussianPSF):
        weights = np.convolve(weights, _gaussian(detector.psf, step))
    return weights


def _gaussian(psf: GaussianPSF, step: float) -> Array:
    """scipy's `gaussian_filter` as weights."""
    sigma = psf.fwhm_arcsec / (2 * np.sqrt(2 * np.log(2))) / step
    reach = int(psf.truncate * sigma + 0.5)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return np.asarray(weights / weights.sum())


class _Kernel:
    """Convolution with a kernel by Fourier transform; it is dark beyond the edge."""

    def __init__(self, detector: Detector) -> None:
        assert isinstance(detector.psf, KernelPSF)
        values = np.array(detector.psf.values)
        self.factor = detector.supersampling if detector.psf_on_fine_grid else 1
        self.size = detector.num_pix * self.factor
        self.reach = len(values) // 2
        self.padded = fft.next_fast_len(self.size + 2 * self.reach, real=True)
        self.transform = fft.rfft2(values, (self.padded, self.padded))

    def __call__(self, sharp: Array) -> Array:
        shape = (self.padded, self.padded)
        full = fft.irfft2(fft.rfft2(sharp, shape) * self.transform, shape)
        inside = slice(self.reach, self.reach + self.size)
        spread = full[:, inside, inside]
        side = self.size // self.factor
        return np.asarray(spread.reshape(-1, side, self.factor, side, self.factor).mean(axis=(2, 4)))


# -- the scene


def _scene(seen: Sequence[LensBatch]) -> Scene:
    systems, everyone = seen[0], np.arange(seen[0].rows)
    masses = {group.profile: group for group in merge([(everyone, group) for group in systems.deflectors])}
    power_laws, series = _power_laws(masses.get("EPL"), systems.rows)
    lights, images = systems.rows * len(seen), _of_bands([one.source for one in seen], SHOWN)
    return Scene(
        shears=_group([masses.get("SHEAR")], systems.rows, _shear),
        isothermals=_group([masses.get("SIE")], systems.rows, _isothermal),
        power_laws=power_laws,
        power_law_series=series,
        points=_by_column(_group([masses.get("POINT_MASS")], systems.rows, _point)),
        lines=_group([masses.get("LINE")], systems.rows, _line),
        halos=_group([masses.get("TNFW")], systems.rows, _halo),
        sources=_group(_of_bands([one.source for one in seen], LIGHTS), lights, _sersic),
        pictured=_group(images, lights, _picture),
        pictures=_pictures(images),
        lens_lights=_group(_of_bands([one.lens_light for one in seen], LIGHTS), lights, _sersic),
    )


def _of_bands(seen: Sequence[tuple[Light, ...]], profiles: tuple[str, ...]) -> list[Light]:
    """Lights of some profiles in all bands; band b of B of system i owns what i B + b owns."""
    found: list[Light] = []
    before = 0
    for band, groups in enumerate(seen):
        for group in (one for one in groups if one.profile in profiles):
            moved = replace(group, owner=group.owner * len(seen) + band)
            if group.images is not None:
                # images of all lights stand one after the other
                moved = replace(
                    moved, parameters={**group.parameters, "image": group.parameters["image"] + before}
                )
                before += len(group.images)
            found.append(moved)
    return found


def _group(
    groups: "list[Light] | list[Deflectors | None]",
    rows: int,
    columns: Callable[[dict[str, Array]], tuple[Array, ...]],
) -> Group:
    """One matrix of all groups that are there, sorted by the image they belong to."""
    present = [group for group in groups if group is not None]
    if not present:
        return Group(np.empty((0, len(columns(_NO_PARAMETERS)))), np.zeros(rows + 1, np.int64))
    matrix = np.concatenate([np.stack(columns(group.parameters), axis=1) for group in present])
    owner = np.concatenate([group.owner for group in present])
    if len(present) > 1:
        order = np.argsort(owner, kind="stable")
        matrix, owner = matrix[order], owner[order]
    return Group(matrix, np.searchsorted(owner, np.arange(rows + 1)))


class _Nothing(dict[str, Array]):
    def __missing__(self, name: str) -> Array:
        return np.empty(0)


_NO_PARAMETERS = _Nothing()


def _by_column(group: Group) -> Group:
    """Sums over many points read one parameter after the other."""
    return Group(np.ascontiguousarray(group.rows.T), group.offsets)


def _shear(p: dict[str, Array]) -> tuple[Array, ...]:
    return p["gamma1"], p["gamma2"]


def _axis_ratio_and_angle(p: dict[str, Array]) -> tuple[Array, Array]:
    modulus = np.minimum(np.hypot(p["e1"], p["e2"]), FLATTEST)
    return (1 - modulus) / (1 + modulus), np.arctan2(p["e2"], p["e1"]) / 2


def _isothermal(p: dict[str, Array]) -> tuple[Array, ...]:
    axis_ratio, angle = _axis_ratio_and_angle(p)
    q = np.minimum(axis_ratio, ROUNDEST_AXIS_RATIO)
    flattening = np.sqrt(1 - q**2)
    return (
        p["theta_E"] * np.sqrt(axis_ratio) / flattening,
        flattening,
        SIE_CORE_ARCSEC / np.sqrt(axis_ratio),
        q**2,
        np.cos(angle),
        np.sin(angle),
        p["center_x"],
        p["center_y"],
    )


def _power_laws(group: Deflectors | None, rows: int) -> tuple[Group, Array]:
    """The group and the coefficients of 2F1(1, t/2; 2 - t/2; -f e^(2 i phi)) with f = (1 - q) / (1 + q)."""
    prepared = _group([group], rows, _power_law)
    if group is None:
        return prepared, np.empty((0, 1))
    half_slope = (group.parameters["gamma"] - 1) / 2
    q, _ = _axis_ratio_and_angle(group.parameters)
    flattening = (1 - q) / (1 + q)
    terms = _terms(flattening)
    n = np.arange(int(terms.max(initial=1)) - 1)
    ratios = -flattening[:, None] * (half_slope[:, None] + n) / (2 - half_slope[:, None] + n)
    return prepared, np.concatenate([np.ones((len(q), 1)), np.cumprod(ratios, axis=1)], axis=1)


def _terms(flattening: Array) -> Array:
    shrinking = np.log(np.clip(flattening, SMALLEST_TERM, FLATTEST))
    return np.asarray(1 + np.ceil(np.log(SMALLEST_TERM) / shrinking))


def _power_law(p: dict[str, Array]) -> tuple[Array, ...]:
    q, angle = _axis_ratio_and_angle(p)
    slope = p["gamma"] - 1
    radius = p["theta_E"] * np.sqrt(q)
    return (
        2 / (1 + q) * radius**slope,
        slope / 2,
        q,
        np.cos(angle),
        np.sin(angle),
        p["center_x"],
        p["center_y"],
        _terms((1 - q) / (1 + q)),
    )


def _point(p: dict[str, Array]) -> tuple[Array, ...]:
    return p["theta_E"] ** 2, p["center_x"], p["center_y"]


def _line(p: dict[str, Array]) -> tuple[Array, ...]:
    """Points of mass at even distances stand for a continuous line that is one distance longer."""
    points = p["points"]
    spacing = np.where(points > 0, 2 * p["half_length"] / np.maximum(points - 1, 1), 0.0)
    half = p["half_length"] + spacing / 2
    total = p["theta_E"] ** 2
    return (
        total / (2 * half),
        half,
        np.cos(p["angle"]),
        np.sin(p["angle"]),
        p["center_x"],
        p["center_y"],
        points,
        spacing,
        total / np.maximum(points, 1),
    )


def _halo(p: dict[str, Array]) -> tuple[Array, ...]:
    tau = p["r_trunc"] / p["Rs"]
    # lenstronomy's alpha_Rs is the deflection at Rs without truncation
    scale = p["alpha_Rs"] / p["Rs"] / (1 - np.log(2))
    return (
        scale,
        p["Rs"] ** -2.0,
        tau,
        (tau / (tau**2 + 1)) ** 2,
        np.log(tau),
        p["center_x"],
        p["center_y"],
    )


def _pictures(lights: list[Light]) -> NDArray[np.float32]:
    """The pixels of all lights that are images, one after the other, with a dark frame."""
    pixels = [light.images for light in lights if light.images is not None]
    together = np.concatenate(pixels) if pixels else np.empty((0, 0, 0), np.float32)
    return np.pad(together, ((0, 0), (1, 1), (1, 1)))


def _picture(p: dict[str, Array]) -> tuple[Array, ...]:
    cos, sin = np.cos(p["phi_G"]) / p["scale"], np.sin(p["phi_G"]) / p["scale"]
    return p["amp"], p["image"], p["center_x"], p["center_y"], cos, sin


def _sersic(p: dict[str, Array]) -> tuple[Array, ...]:
    """lenstronomy's b = 1.9992 n - 0.3271, product-averaged radius and flat centre."""
    radius = np.maximum(p["R_sersic"], SMOOTHING_ARCSEC)
    steepness = np.maximum(1.9992 * p["n_sersic"] - 0.3271, 1e-5)
    e1, e2 = p["e1"], p["e2"]
    norm = np.maximum(np.abs(1 - e1**2 - e2**2), 1e-6) * radius**2
    return (
        p["amp"] * np.exp(steepness),
        steepness,
        0.5 / p["n_sersic"],
        ((1 - e1) ** 2 + e2**2) / norm,
        -4 * e2 / norm,
        ((1 + e1) ** 2 + e2**2) / norm,
        (SMOOTHING_ARCSEC / radius) ** 2,
        p["center_x"],
        p["center_y"],
    )
