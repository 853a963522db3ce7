"""The fast engine: compiled kernels render whole images, at lenstronomy's numbers.

Here lens systems become the numbers that the loops of `simulate.kernels` need, whole batches at a time.
Systems with a profile that has no kernel are rendered by lenstronomy.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from schemas.instrument import Detector, GaussianPSF, KernelPSF, NoPSF
from simulate.batch import Array, Deflectors, LensBatch, Light, merge
from simulate.engines.reference import deflect_with_lenstronomy, render_with_lenstronomy
from simulate.engines.registry import DEFLECTIONS, ENGINES, Engine
from simulate.kernels import images as kernels
from simulate.kernels import tnfw
from simulate.kernels.deflections import SIE_CORE_ARCSEC
from simulate.kernels.images import Camera, Group, Scene
from simulate.kernels.light import SMOOTHING_ARCSEC
from simulate.masses import cored_mass, cored_mass_in_projection

MASSES = ("SHEAR", "SIE", "EPL", "POINT_MASS", "LINE", "TNFW", "TNFWC")
LIGHTS = ("SERSIC_ELLIPSE",)
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


EXACT = Precision(tabulated=False, singly=False)
DOUBLE = Precision(tabulated=True, singly=False)
SINGLE = Precision(tabulated=True, singly=True)
NOT_KEPT = np.empty((0, 2, 0, 0))


@ENGINES.register("fused")
def render_fused(systems: LensBatch, detector: Detector) -> NDArray[np.float64]:
    """Noise-free images; truncated NFW halos by cubics, to 1e-6 of their largest deflection."""
    return _render(systems, detector, DOUBLE)


@ENGINES.register("fused_exact")
def render_exactly(systems: LensBatch, detector: Detector) -> NDArray[np.float64]:
    """Noise-free images; truncated NFW halos by their formula."""
    return _render(systems, detector, EXACT)


@ENGINES.register("fused_float32")
def render_in_single_precision(systems: LensBatch, detector: Detector) -> NDArray[np.float64]:
    """Noise-free images; sums over point masses in single precision, to 5e-6 of the peak."""
    return _render(systems, detector, SINGLE)


@DEFLECTIONS.register("fused")
def deflect_fused(systems: LensBatch, detector: Detector) -> NDArray[np.float64]:
    """What the engine `fused` deflects rays by."""
    return _deflect(systems, detector, DOUBLE)


@DEFLECTIONS.register("fused_exact")
def deflect_exactly(systems: LensBatch, detector: Detector) -> NDArray[np.float64]:
    """What the engine `fused_exact` deflects rays by."""
    return _deflect(systems, detector, EXACT)


@DEFLECTIONS.register("fused_float32")
def deflect_in_single_precision(systems: LensBatch, detector: Detector) -> NDArray[np.float64]:
    """What the engine `fused_float32` deflects rays by."""
    return _deflect(systems, detector, SINGLE)


def without_kernel(systems: LensBatch) -> dict[str, NDArray[np.int64]]:
    """Profiles of a batch that have no kernel here, with the rows that have them."""
    unknown = [
        *(group for group in systems.deflectors if group.profile not in MASSES),
        *(group for group in (*systems.source, *systems.lens_light) if group.profile not in LIGHTS),
    ]
    return {
        name: np.unique(np.concatenate([group.owner for group in unknown if group.profile == name]))
        for name in {group.profile for group in unknown}
    }


def _render(systems: LensBatch, detector: Detector, precision: Precision) -> NDArray[np.float64]:
    return _split(systems, partial(_render_known, precision=precision), render_with_lenstronomy, detector)


def _deflect(systems: LensBatch, detector: Detector, precision: Precision) -> NDArray[np.float64]:
    dark = replace(systems, source=(), lens_light=())
    return _split(dark, partial(_deflect_known, precision=precision), deflect_with_lenstronomy, detector)


def _split(systems: LensBatch, ours: Engine, theirs: Engine, detector: Detector) -> NDArray[np.float64]:
    """Systems with a profile that has no kernel here go to lenstronomy."""
    unknown = without_kernel(systems)
    if not unknown:
        return ours(systems, detector)
    slow = np.unique(np.concatenate(list(unknown.values())))
    fast = np.setdiff1d(np.arange(systems.rows), slow)
    found = ours(systems.subset(fast), detector)
    whole = np.empty((systems.rows, *found.shape[1:]))
    whole[fast] = found
    whole[slow] = theirs(systems.subset(slow), detector)
    return whole


def _deflect_known(systems: LensBatch, detector: Detector, precision: Precision) -> NDArray[np.float64]:
    """By the same rays as for images, one from the centre of each pixel."""
    plain = detector.model_copy(update={"supersampling": 1, "psf": NoPSF()})
    side = detector.num_pix
    found = np.empty((systems.rows, 2, side, side))
    scene, (halo_table, tabulated) = _scene(systems), _halo_table(systems, precision)
    dark = np.empty((systems.rows, side, side))
    kernels.render(scene, _camera(plain), halo_table, tabulated, precision.singly, 0, found, dark)
    return found


def _halo_table(systems: LensBatch, precision: Precision) -> tuple[Array, bool]:
    """The table where it is needed, and whether halos go by cubics; those with cores have their own."""
    halos = any(group.profile == "TNFW" and len(group.owner) for group in systems.deflectors)
    needed = precision.tabulated and halos
    return (tnfw.table() if needed else np.empty((0, 4, 0))), precision.tabulated


def _render_known(systems: LensBatch, detector: Detector, precision: Precision) -> NDArray[np.float64]:
    scene = _scene(systems)
    halo_table, tabulated = _halo_table(systems, precision)
    images = np.empty((systems.rows, detector.num_pix, detector.num_pix))
    if not isinstance(detector.psf, KernelPSF):
        kernels.render(scene, _camera(detector), halo_table, tabulated, precision.singly, 0, NOT_KEPT, images)
        return images
    camera, spread = _camera(detector), _Kernel(detector)
    side = detector.num_pix * (detector.supersampling if detector.psf_on_fine_grid else 1)
    for start in range(0, systems.rows, CONVOLVED_TOGETHER):
        some = images[start : start + CONVOLVED_TOGETHER]
        sharp = np.empty((len(some), side, side))
        kernels.render(scene, camera, halo_table, tabulated, precision.singly, start, NOT_KEPT, sharp)
        some[:] = spread(sharp)
    return images


# -- the camera


@lru_cache(maxsize=32)
def _camera(detector: Detector) -> Camera:
    """A kernel on the fine grid is applied later: then the fine pixels themselves are the image."""
    factor = detector.supersampling
    step = detector.pixel_scale_arcsec / factor
    size = detector.num_pix * factor
    positions = np.asarray((np.arange(size) - (size - 1) / 2) * step)
    if isinstance(detector.psf, KernelPSF) and detector.psf_on_fine_grid:
        factor = 1
    weights = np.ones(factor) / factor
    if isinstance(detector.psf, GaussianPSF):
        weights = np.convolve(weights, _gaussian(detector.psf, step))
    reach = (len(weights) - factor) // 2
    in_fours = np.concatenate([weights, np.zeros(-len(weights) % 4)])
    return Camera(positions, factor, in_fours, reach, detector.pixel_scale_arcsec**2)


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


def _scene(systems: LensBatch) -> Scene:
    everyone = np.arange(systems.rows)
    masses = {group.profile: group for group in merge([(everyone, group) for group in systems.deflectors])}
    power_laws, series = _power_laws(masses.get("EPL"), systems.rows)
    return Scene(
        shears=_group([masses.get("SHEAR")], systems.rows, _shear),
        isothermals=_group([masses.get("SIE")], systems.rows, _isothermal),
        power_laws=power_laws,
        power_law_series=series,
        points=_by_column(_group([masses.get("POINT_MASS")], systems.rows, _point)),
        lines=_group([masses.get("LINE")], systems.rows, _line),
        halos=_group([masses.get("TNFW")], systems.rows, _halo),
        cored_halos=_group([masses.get("TNFWC")], systems.rows, _cored_halo),
        sources=_group(systems.source, systems.rows, _sersic),
        lens_lights=_group(systems.lens_light, systems.rows, _sersic),
    )


def _group(
    groups: "tuple[Light, ...] | list[Deflectors | None]",
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


def _cored_halo(p: dict[str, Array]) -> tuple[Array, ...]:
    core, tau = p["r_core"] / p["Rs"], p["r_trunc"] / p["Rs"]
    # alpha_Rs is the deflection of the halo itself at Rs
    scale = p["alpha_Rs"] / p["Rs"] / cored_mass_in_projection(1.0, core, tau)
    factor = tau**2 / (tau**2 - 1)
    return (
        scale,
        p["Rs"] ** -2.0,
        core**2,
        tau**2,
        factor,
        cored_mass(core, tau) / factor,
        p["center_x"],
        p["center_y"],
    )


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
