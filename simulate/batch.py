"""A batch of lens systems as an engine receives it: flat arrays under lenstronomy's names."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# By which power of a factor each parameter grows when the profile's deflection grows by that factor.
STRENGTHS: dict[str, dict[str, float]] = {
    "SIE": {"theta_E": 1.0},
    "SHEAR": {"gamma1": 1.0, "gamma2": 1.0},
    "POINT_MASS": {"theta_E": 0.5},
}


@dataclass(frozen=True)
class Deflectors:
    """Mass profiles of one kind. `owner` is the row of the batch that each belongs to, ascending."""

    profile: str
    owner: NDArray[np.int64]
    parameters: dict[str, Array]

    def scaled(self, factor: Array) -> "Deflectors":
        """The same with every deflection multiplied by `factor`, given per row of the batch."""
        powers = STRENGTHS[self.profile]
        stronger = {
            name: self.parameters[name] * factor[self.owner] ** power for name, power in powers.items()
        }
        return Deflectors(self.profile, self.owner, {**self.parameters, **stronger})

    def offsets(self, rows: int) -> NDArray[np.int64]:
        """Row i of the batch owns `[offsets[i], offsets[i + 1])`."""
        return np.searchsorted(self.owner, np.arange(rows + 1))


@dataclass(frozen=True)
class Light:
    """One light profile per row of the batch."""

    profile: str
    parameters: dict[str, Array]


@dataclass(frozen=True)
class LensBatch:
    """Lens systems, ready to be rendered."""

    rows: int
    deflectors: tuple[Deflectors, ...]
    source: Light


def merge(parts: list[tuple[NDArray[np.int64], Deflectors]]) -> tuple[Deflectors, ...]:
    """Deflectors of subsets of a batch (with the rows of each subset), as one group per profile."""
    groups: dict[str, list[Deflectors]] = {}
    for rows, part in parts:
        groups.setdefault(part.profile, []).append(
            Deflectors(part.profile, rows[part.owner], part.parameters)
        )
    merged = []
    for profile, members in groups.items():
        owner = np.concatenate([member.owner for member in members])
        order = np.argsort(owner, kind="stable")
        names = members[0].parameters
        parameters = {name: np.concatenate([m.parameters[name] for m in members])[order] for name in names}
        merged.append(Deflectors(profile, owner[order], parameters))
    return tuple(merged)
