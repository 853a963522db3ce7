"""What cold, warm and self-interacting populations have in common: number, masses, places.

The number of subhalos is Poisson with the mean f_sub M(<r_max) / <m>, M the projected mass of the main lens
and <m> the mean of the mass function dN/dm ~ m^slope; places are uniform in area within r_max of the lens
centre. All kinds take the same uniforms for the same things: from one stream come the same cold subhalos.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from schemas.substructure import ColdPopulation, SelfInteractingPopulation, WarmPopulation
from simulate.batch import Array, Deflectors
from simulate.masses import total_per_system
from simulate.quantiles import poisson_quantile, power_law_mean, quantile
from simulate.streams import Streams
from simulate.substructure.halos import SHAPE
from simulate.substructure.kinds import Draw, Surroundings

SYSTEM = 3  # uniforms of f_sub, number and the kind's own parameter
PLACE = 3  # of a subhalo's mass, radius and angle
SURVIVAL = 1  # of what thins a population
Rows = NDArray[np.int64]
AnyPopulation = ColdPopulation | WarmPopulation | SelfInteractingPopulation


@dataclass(frozen=True)
class Population:
    """Subhalos of all systems, one after the other; `owner` says whose they are."""

    f_sub: Array
    lens_mass: Array
    own_uniform: Array
    owner: Rows
    mass: Array
    center_x: Array
    center_y: Array
    shape: Array
    survival: Array

    def kept(self, keep: NDArray[np.bool_]) -> Self:
        """Some of the subhalos."""
        return replace(
            self,
            owner=self.owner[keep],
            mass=self.mass[keep],
            center_x=self.center_x[keep],
            center_y=self.center_y[keep],
            shape=self.shape[:, keep],
            survival=self.survival[keep],
        )

    def draw(
        self, profile: str, parameters: dict[str, Array], around: Surroundings, **own_columns: Array
    ) -> Draw:
        """As deflectors, with the columns of a population and the kind's own."""
        places = {"center_x": self.center_x, "center_y": self.center_y}
        group = Deflectors(profile, self.owner, {**parameters, **places}, self.mass)
        systems = len(self.f_sub)
        mass: Array = np.bincount(self.owner, self.mass, minlength=systems).astype(np.float64)
        columns: dict[str, Array] = {
            "subhalo_count": np.bincount(self.owner, minlength=systems).astype(np.float64),
            "subhalo_mass_msun": mass,
            "subhalo_mass_max_msun": _largest(self.mass, self.owner, systems),
            "subhalo_bound_mass_msun": total_per_system(group, systems) / around.unit_einstein_radius**2,
            "f_sub": self.f_sub,
            "f_sub_realised": mass / self.lens_mass,
        }
        return Draw((group,), columns | own_columns)


def draw_population(kind: AnyPopulation, around: Surroundings, streams: Streams) -> Population:
    """The cold subhalos of each system."""
    f_sub_uniform, number_uniform, own_uniform = streams.random(SYSTEM).T
    f_sub = quantile(kind.f_sub, f_sub_uniform)
    r_max = kind.r_max_theta_E * around.theta_E
    lens_mass = around.lens_mass(r_max)
    number = poisson_quantile(f_sub * lens_mass / power_law_mean(kind.mass_msun), number_uniform)
    owner = np.repeat(np.arange(len(streams)), number)
    uniforms = np.ascontiguousarray(streams.ragged(number, PLACE + SHAPE + SURVIVAL).T)
    radius = r_max[owner] * np.sqrt(uniforms[1])
    angle = 2 * np.pi * uniforms[2]
    return Population(
        f_sub=f_sub,
        lens_mass=lens_mass,
        own_uniform=own_uniform,
        owner=owner,
        mass=quantile(kind.mass_msun, uniforms[0]),
        center_x=around.center_x[owner] + radius * np.cos(angle),
        center_y=around.center_y[owner] + radius * np.sin(angle),
        shape=uniforms[PLACE : PLACE + SHAPE],
        survival=uniforms[PLACE + SHAPE],
    )


def _largest(values: Array, owner: Rows, systems: int) -> Array:
    """The largest value of each system; 0 for one that has none."""
    found = np.zeros(systems)
    if len(values):
        first = np.flatnonzero(np.diff(owner, prepend=-1))
        found[owner[first]] = np.maximum.reduceat(values, first)
    return found
