"""The smooth lens of a batch and the parameters that an observer would have to fit.

Free are all parameters of the main lens, shear and multipole. Of the lensed source its brightness, size,
ellipticity and position are free, but not its Sersic index; of the lens light its brightness. Components of a
source move, grow and turn together, so that their number does not matter.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from schemas.dataset import DatasetRecipe
from simulate.batch import Deflectors, LensBatch, Light, P
from simulate.draw import Drawn

Array = NDArray[np.float64]
# a batch, and by how much one parameter of each of its systems changes
Move = Callable[[LensBatch, Array], LensBatch]

ELLIPSOID = ("theta_E", "e1", "e2", "center_x", "center_y")
MASS = {"SIE": ELLIPSOID, "EPL": (*ELLIPSOID, "gamma"), "SHEAR": ("gamma1", "gamma2"), "MULTIPOLE": ()}
# those that a profile of the source has; sizes change by a factor, all else by a sum
SIZES = ("R_sersic", "scale")
SOURCE = (*SIZES, "e1", "e2", "phi_G", "center_x", "center_y")
CENTRES = ("center_x", "center_y")


def smooth_part(recipe: DatasetRecipe, drawn: Drawn) -> LensBatch:
    """The systems without their substructure, and the main lens with all the mass that it had for them."""
    components = (recipe.main_lens, recipe.shear, recipe.multipole)
    kinds = {component.kind for component in components if component is not None}
    smooth = [group for group in drawn.systems.deflectors if group.profile in kinds]
    # substructure of a smooth component's profile would be taken for it
    assert sorted(group.profile for group in smooth) == sorted(kinds)
    if recipe.compensate_mass:
        whole = drawn.columns["theta_E"] / drawn.columns["theta_E_smooth"]
        smooth = [
            _with_mass(group, whole) if group.profile == recipe.main_lens.kind else group for group in smooth
        ]
    return replace(drawn.systems, deflectors=tuple(smooth))


def _with_mass(group: Deflectors, factor: Array) -> Deflectors:
    return _with(group, {"theta_E": group.parameters["theta_E"] * factor[group.owner]})


def shape_moves(systems: LensBatch) -> tuple[Move, ...]:
    """One per free parameter that no image is linear in."""
    moves = [_mass_move(group.profile, name) for group in systems.deflectors for name in MASS[group.profile]]
    if any(group.profile == "MULTIPOLE" for group in systems.deflectors):
        moves += [_multipole_move(0), _multipole_move(1)]
    present = {name for group in systems.source for name in group.parameters}
    return (*moves, *(_source_move(name) for name in SOURCE if name in present))


def brightness_moves(systems: LensBatch) -> tuple[Move, ...]:
    """The source's brightness, then the lens light's if there is any; by a share of what it is."""
    return (_brighter_source, _brighter_lens) if systems.lens_light else (_brighter_source,)


def moved(systems: LensBatch, moves: tuple[Move, ...], steps: Array) -> LensBatch:
    """The systems after all moves, (systems, moves)."""
    for k, move in enumerate(moves):
        systems = move(systems, steps[:, k])
    return systems


def _mass_move(profile: str, name: str) -> Move:
    def move(systems: LensBatch, step: Array) -> LensBatch:
        # a multipole stands at the lens centre
        profiles = (profile, "MULTIPOLE") if name in CENTRES else (profile,)
        groups = (
            _with(group, {name: group.parameters[name] + step[group.owner]})
            if group.profile in profiles
            else group
            for group in systems.deflectors
        )
        return replace(systems, deflectors=tuple(groups))

    return move


def _multipole_move(axis: int) -> Move:
    """Along a_m cos(m phi_m) or a_m sin(m phi_m), which a multipole of no strength has too."""

    def move(systems: LensBatch, step: Array) -> LensBatch:
        groups = (
            _with(group, _turned(group.parameters, axis, step[group.owner]))
            if group.profile == "MULTIPOLE"
            else group
            for group in systems.deflectors
        )
        return replace(systems, deflectors=tuple(groups))

    return move


def _turned(parameters: dict[str, Array], axis: int, step: Array) -> dict[str, Array]:
    m, a_m, phi_m = (parameters[name] for name in ("m", "a_m", "phi_m"))
    along = [a_m * np.cos(m * phi_m), a_m * np.sin(m * phi_m)]
    along[axis] = along[axis] + step
    return {"a_m": np.hypot(*along), "phi_m": np.arctan2(along[1], along[0]) / m}


def _source_move(name: str) -> Move:
    def changed(group: Light, step: Array) -> Light:
        if name not in group.parameters:
            return group
        value, by = group.parameters[name], step[group.owner]
        return _with(group, {name: value * np.exp(by) if name in SIZES else value + by})

    def move(systems: LensBatch, step: Array) -> LensBatch:
        return replace(systems, source=tuple(changed(group, step) for group in systems.source))

    return move


def _brighter_source(systems: LensBatch, step: Array) -> LensBatch:
    return replace(systems, source=_brighter(systems.source, step))


def _brighter_lens(systems: LensBatch, step: Array) -> LensBatch:
    return replace(systems, lens_light=_brighter(systems.lens_light, step))


def _brighter(groups: tuple[Light, ...], step: Array) -> tuple[Light, ...]:
    return tuple(_with(group, {"amp": group.parameters["amp"] * (1 + step[group.owner])}) for group in groups)


def _with(group: P, values: dict[str, Array]) -> P:
    return replace(group, parameters={**group.parameters, **values})
