"""Convergence of substructure on the pixels of a detector, as the mean over each pixel."""

from collections.abc import Callable

import numpy as np

from schemas.errors import RecipeError
from schemas.instrument import Detector
from schemas.registry import Registry
from simulate.batch import Array, Deflectors
from simulate.engines.line import split_lines
from simulate.kernels import convergence as kernels
from simulate.masses import cored_mass, total

# profiles, step of the grid, maps (rows, y, x) that they are added to
Adder = Callable[[Deflectors, float, Array], None]
ADDERS: Registry[Adder] = Registry("profile of known convergence")
# shorter lines are points; their length would be lost in rounding
SHORTEST_ARCSEC = 1e-9


def convergence(substructure: tuple[Deflectors, ...], rows: int, detector: Detector) -> Array:
    """Of all members together: (rows, y, x)."""
    maps = np.zeros((rows, detector.num_pix, detector.num_pix))
    for group in substructure:
        if group.profile not in ADDERS:
            raise RecipeError(
                f"the convergence of the profile {group.profile} is not known",
                expected=f"one of {', '.join(sorted(ADDERS))}",
                where="simulate/convergence.py",
                advice="register a function for it in ADDERS, or leave convergence out of products",
            )
        ADDERS[group.profile](group, detector.pixel_scale_arcsec, maps)
    return maps


@ADDERS.register("POINT_MASS")
def _add_points(group: Deflectors, step: float, maps: Array) -> None:
    p = group.parameters
    rows = np.stack([p["theta_E"] ** 2, p["center_x"], p["center_y"]], axis=1)
    kernels.add_points(rows, group.offsets(len(maps)), step, maps)


@ADDERS.register("LINE")
def _add_lines(group: Deflectors, step: float, maps: Array) -> None:
    for part in split_lines(group):
        if part.profile == "POINT_MASS":
            _add_points(part, step, maps)
        else:
            _add_continuous(part, step, maps)


def _add_continuous(group: Deflectors, step: float, maps: Array) -> None:
    p = group.parameters
    half = np.maximum(p["half_length"], SHORTEST_ARCSEC)
    along = p["theta_E"] ** 2 / (2 * half)
    columns = along, half, np.cos(p["angle"]), np.sin(p["angle"]), p["center_x"], p["center_y"]
    kernels.add_lines(np.stack(columns, axis=1), group.offsets(len(maps)), step, maps)


@ADDERS.register("TNFW")
def _add_truncated(group: Deflectors, step: float, maps: Array) -> None:
    p = group.parameters
    tau = p["r_trunc"] / p["Rs"]
    # lenstronomy's alpha_Rs is the deflection at Rs without truncation
    strength = p["alpha_Rs"] / p["Rs"] / (1 - np.log(2))
    shape = tau, (tau / (tau**2 + 1)) ** 2, np.log(tau)
    _add_halos(group, strength, shape, False, step, maps)


@ADDERS.register("TNFWC")
def _add_cored(group: Deflectors, step: float, maps: Array) -> None:
    p = group.parameters
    core, tau = p["r_core"] / p["Rs"], p["r_trunc"] / p["Rs"]
    strength = total(group) / p["Rs"] ** 2 / cored_mass(core, tau) * tau**2 / (tau**2 - 1)
    _add_halos(group, strength, (tau, core, np.zeros_like(tau)), True, step, maps)


def _add_halos(
    group: Deflectors,
    strength: Array,
    shape: tuple[Array, ...],
    cored: bool,
    step: float,
    maps: Array,
) -> None:
    p = group.parameters
    rows = np.stack([strength, p["Rs"] ** -2.0, *shape, p["center_x"], p["center_y"]], axis=1)
    tables = np.empty((2, 0, 4, 0)) if cored or not len(rows) else kernels.tables()
    offsets = group.offsets(len(maps))
    kernels.add_halos(rows, offsets, cored, tables, kernels.to_powers(), step, maps)
