"""From lens systems to the numbers that the loops of `simulate.kernels` need, whole batches at a time."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from simulate.batch import Array, Deflectors, LensBatch, Light, merge
from simulate.kernels.deflections import SIE_CORE_ARCSEC
from simulate.kernels.images import Group, Scene
from simulate.kernels.light import SMOOTHING_ARCSEC
from simulate.masses import cored_mass, cored_mass_in_projection

MASSES = ("SHEAR", "SIE", "EPL", "POINT_MASS", "LINE", "TNFW", "TNFWC")
LIGHTS = ("SERSIC_ELLIPSE",)
# a source can be an image too
SHOWN = ("INTERPOL",)
FLATTEST = 0.9999
ROUNDEST_AXIS_RATIO = 0.99999999
# a term of the power law's series below this share of the first is lost in rounding
SMALLEST_TERM = 1e-17


def scene_of(seen: Sequence[LensBatch]) -> Scene:
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
        cored_halos=_group([masses.get("TNFWC")], systems.rows, _cored_halo),
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
