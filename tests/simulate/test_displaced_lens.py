"""Substructure belongs to its lens, wherever the lens is."""

import numpy as np
import pytest

from flows.catalogue import load_recipe
from simulate.draw import draw


@pytest.mark.parametrize(("position", "profile"), [(1, "POINT_MASS"), (2, "LINE")], ids=["cdm", "vortex"])
def test_substructure_moves_with_the_lens(position: int, profile: str) -> None:
    ids = np.arange(4) * 3 + position
    here = draw(load_recipe("model_i"), ids).systems.deflectors[-1]
    moved = draw(load_recipe("model_i", ["main_lens.center_x=0.5", "main_lens.center_y=-0.25"]), ids)
    there = moved.systems.deflectors[-1]
    assert here.profile == there.profile == profile
    np.testing.assert_allclose(there.parameters["center_x"], here.parameters["center_x"] + 0.5, atol=1e-14)
    np.testing.assert_allclose(there.parameters["center_y"], here.parameters["center_y"] - 0.25, atol=1e-14)
