"""A small recipe, and the way from its text to a model."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from schemas.dataset import DatasetRecipe
from schemas.reading import read_recipe

SMALL = """\
name: small
family: survey
compensate_mass: false
seed: 7
samples_per_class: 10
splits: {train: 0.8, test: 0.2}
redshifts: {z_lens: 0.5, z_source: {kind: uniform, low: 1.0, high: 2.0}}
main_lens: {kind: SIE, theta_E: 1.2}
source:
  kind: SERSIC_ELLIPSE
  magnitude: 20
  R_sersic: {kind: log_uniform, low: 0.1, high: 0.5}
  n_sersic: {kind: choice, values: [1, 2]}
instrument:
  kind: detector
  num_pix: 16
  pixel_scale_arcsec: 0.1
  psf: {kind: gaussian, fwhm_arcsec: 0.16}
classes:
  - name: no_sub
    label: 0
    substructure: {kind: none}
  - name: cdm
    label: 1
    substructure:
      kind: subhalos
      count: 3
      mass_msun: {kind: power_law, slope: -1.9, low: 1e8, high: 1e10}
      radius_arcsec: {kind: uniform, low: 0.2, high: 2}
"""

Read = Callable[..., DatasetRecipe]


@pytest.fixture(scope="session")
def small_text() -> str:
    return SMALL


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """A recipe from a text (the small one by default) and overrides."""

    def read_text(text: str = SMALL, overrides: Sequence[str] = ()) -> DatasetRecipe:
        path = tmp_path / "recipe.yaml"
        path.write_text(text, encoding="utf-8")
        return read_recipe(path, DatasetRecipe, overrides)

    return read_text
