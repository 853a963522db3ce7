"""What becomes of the source: lensed as a rule, seen without the lens, or not there.

Everything else of a sample is drawn as it would have been, so that classes differ in this alone.
"""

import numpy as np
from numpy.typing import NDArray

from schemas.dataset import DatasetRecipe
from schemas.shares import SOURCE_STATES
from simulate.batch import Array, Light
from simulate.streams import Streams


def source_states(recipe: DatasetRecipe, positions: NDArray[np.int64], streams: Streams) -> dict[str, Array]:
    """The column `source_state`, a uniform a sample; nothing where all sources of a recipe are lensed."""
    if all(one.source.lensed == 1 for one in recipe.classes):
        return {}
    shares = np.array(
        [[float(getattr(one.source, state)) for state in SOURCE_STATES] for one in recipe.classes]
    )
    edges = np.cumsum(shares, axis=1)[:, :-1]
    uniform = streams.random(1)
    return {"source_state": (uniform >= edges[positions]).sum(axis=1).astype(np.float64)}


def in_state(light: Light, columns: dict[str, Array], state: str) -> tuple[Light, ...]:
    """The members of a light profile whose source is in a state; none at all where there are none."""
    if "source_state" not in columns:
        return (light,) if state == "lensed" else ()
    members = np.flatnonzero(columns["source_state"][light.owner] == SOURCE_STATES.index(state))
    return (light.taken(light.owner[members], members),) if len(members) else ()
