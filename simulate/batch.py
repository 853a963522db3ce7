"""A batch of lens systems as an engine receives it: flat arrays under lenstronomy's names.

Mass profiles: SIE, EPL, SHEAR, MULTIPOLE, POINT_MASS, TNFW, TNFWC as in lenstronomy, and our own LINE
(theta_E of the whole line, center_x, center_y, half_length, angle, points): `points` equal masses at even
distances, ends included, or a continuous line when `points` is 0.
"""

from dataclasses import dataclass, replace
from typing import Self, TypeVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Rows = NDArray[np.int64]
P = TypeVar("P", bound="Profiles")

# By which power of a factor each parameter grows when the profile's deflection grows by that factor. An EPL's
# power depends on its slope.
STRENGTHS: dict[str, dict[str, float]] = {
    "SIE": {"theta_E": 1.0},
    "SHEAR": {"gamma1": 1.0, "gamma2": 1.0},
    "MULTIPOLE": {"a_m": 1.0},
    "POINT_MASS": {"theta_E": 0.5},
    "LINE": {"theta_E": 0.5},
    "TNFW": {"alpha_Rs": 1.0},
    "TNFWC": {"alpha_Rs": 1.0},
}


@dataclass(frozen=True)
class Profiles:
    """Profiles of one kind. `owner` is the row of the batch that each belongs to, ascending."""

    profile: str
    owner: Rows
    parameters: dict[str, Array]

    def offsets(self, rows: int) -> Rows:
        """Row i of the batch owns `[offsets[i], offsets[i + 1])`."""
        return np.searchsorted(self.owner, np.arange(rows + 1))

    def subset(self, rows: Rows, offsets: Rows) -> Self:
        """The members of these rows of the batch, which become rows 0, 1, ..."""
        first, count = offsets[rows], offsets[rows + 1] - offsets[rows]
        owner = np.repeat(np.arange(len(rows)), count)
        members = np.arange(len(owner)) + (first - np.cumsum(count) + count)[owner]
        return self.taken(owner, members)

    def taken(self, owner: Rows, members: Rows) -> Self:
        """Some members, with new owners."""
        parameters = {name: values[members] for name, values in self.parameters.items()}
        return replace(self, owner=owner, parameters=parameters)


@dataclass(frozen=True)
class Deflectors(Profiles):
    """Mass profiles. `mass_msun` is what the recipe calls the mass of each; catalogues tell it, no ray."""

    mass_msun: Array | None = None

    def taken(self, owner: Rows, members: Rows) -> Self:
        """Some members, with new owners."""
        mass = None if self.mass_msun is None else self.mass_msun[members]
        return replace(super().taken(owner, members), mass_msun=mass)

    def scaled(self, factor: Array) -> "Deflectors":
        """The same with every deflection multiplied by `factor`, given per row of the batch."""
        stronger = {name: self.parameters[name] * growth for name, growth in self._growths(factor).items()}
        return replace(self, parameters={**self.parameters, **stronger})

    def _growths(self, factor: Array) -> dict[str, Array]:
        if self.profile == "EPL":
            return {"theta_E": factor[self.owner] ** (1 / (self.parameters["gamma"] - 1))}
        return {name: (factor**power)[self.owner] for name, power in STRENGTHS[self.profile].items()}


@dataclass(frozen=True)
class Light(Profiles):
    """Light profiles. Members of the profile INTERPOL show the image of `images` that `image` counts out."""

    images: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class LensBatch:
    """Lens systems, ready to be rendered: mass, light that is lensed, light that is not."""

    rows: int
    deflectors: tuple[Deflectors, ...]
    source: tuple[Light, ...]
    lens_light: tuple[Light, ...] = ()

    def subset(self, rows: Rows) -> "LensBatch":
        """These rows, renumbered from 0; profiles that none of them has are left out."""
        return LensBatch(
            len(rows),
            _subsets(self.deflectors, rows, self.rows),
            _subsets(self.source, rows, self.rows),
            _subsets(self.lens_light, rows, self.rows),
        )


def _subsets(groups: tuple[P, ...], rows: Rows, of: int) -> tuple[P, ...]:
    found = (group.subset(rows, group.offsets(of)) for group in groups)
    return tuple(group for group in found if len(group.owner))


def merge(parts: list[tuple[Rows, Deflectors]]) -> tuple[Deflectors, ...]:
    """Deflectors of subsets of a batch (with the rows of each subset), as one group per profile."""
    groups: dict[str, list[Deflectors]] = {}
    for rows, part in parts:
        groups.setdefault(part.profile, []).append(replace(part, owner=rows[part.owner]))
    return tuple(_merged(members) for members in groups.values())


def _merged(members: list[Deflectors]) -> Deflectors:
    if len(members) == 1:
        return members[0]
    owner = np.concatenate([member.owner for member in members])
    order = np.argsort(owner, kind="stable")
    names = members[0].parameters
    parameters = {name: np.concatenate([m.parameters[name] for m in members])[order] for name in names}
    masses = [member.mass_msun for member in members if member.mass_msun is not None]
    mass = np.concatenate(masses)[order] if len(masses) == len(members) else None
    return Deflectors(members[0].profile, owner[order], parameters, mass)
