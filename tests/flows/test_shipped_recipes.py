"""Every shipped recipe becomes a store, sound and even, and a picture of it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from flows import orders
from flows.catalogue import load_recipe, shipped
from flows.generate import Order
from schemas.dataset import CLASS_LABELS
from simulate.draw import draw
from storage.pictures.gallery import show
from storage.reader import open_store
from storage.verify import verify
from tests.galaxies import load_shipped

SURVEYS = [name for name in shipped() if load_shipped(name).family == "survey" and name != "tiny"]
# which of them look for substructure, and with which classes
CLASSIFIED = {
    **dict.fromkeys(("euclid", "hst", "jwst", "rubin"), ("no_sub", "cdm", "vortex")),
    "dark_matter_zoo": ("no_sub", "cdm", "vortex", "wdm", "sidm"),
}


def test_the_promised_surveys_are_shipped() -> None:
    assert set(SURVEYS) == {*CLASSIFIED, "lens_parameters", "lens_finding"}


@pytest.mark.parametrize("name", SURVEYS)
def test_a_survey_becomes_a_store_and_a_picture(
    name: str, tmp_path: Path, make_store: Callable[[Order], None]
) -> None:
    small = ["samples_per_class=2", "splits={train: 0.5, test: 0.5}"]
    order = orders.prepare(name, tmp_path / "small.zarr", None, small)
    make_store(order)
    assert verify(order.root).faults == ()
    picture = show(order.root, tmp_path / "gallery.png", columns=1)
    assert picture.stat().st_size > 1000
    if name in CLASSIFIED:
        store = open_store(order.root)
        at = [column.name for column in store.plan.columns].index("detectability")
        assert np.isfinite(store.read("test", "params")[:, at]).all()


@pytest.mark.parametrize("name", SURVEYS)
def test_a_survey_is_what_the_specification_asks_for(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.detector.supersampling == 3
    assert recipe.detector.psf_on_fine_grid
    assert recipe.noise.kind == "detector"
    assert tuple(one.name for one in recipe.classes) == CLASSIFIED.get(
        name, tuple(one.name for one in recipe.classes)
    )
    assert all(CLASS_LABELS.get(one.name, one.label) == one.label for one in recipe.classes)
    assert recipe.compensate_mass == (name in CLASSIFIED)
    assert recipe.detectability == (("test",) if name in CLASSIFIED else None)
    # 30,000 of a class to learn from, 5,000 to test
    assert recipe.samples_per_class * recipe.splits.test == 5000


@pytest.mark.parametrize("name", SURVEYS)
def test_lenses_fit_the_field(name: str) -> None:
    """Images of a source within half an Einstein radius lie within 1.5 of them, and shear adds a tenth."""
    recipe = load_recipe(name)
    c = draw(recipe, np.arange(3000)).columns
    reach = 1.1 * 1.5 * c["theta_E"] + np.maximum(np.abs(c["center_x"]), np.abs(c["center_y"]))
    half = recipe.detector.num_pix * recipe.detector.pixel_scale_arcsec / 2
    assert reach.max() < half


@pytest.mark.slow
@pytest.mark.parametrize("name", CLASSIFIED)
def test_no_sample_of_a_survey_is_refused(name: str) -> None:
    """A run must not die in the middle: here is every system of it."""
    recipe = load_recipe(name)
    for start in range(0, recipe.sample_count, 4096):
        columns = draw(recipe, np.arange(start, min(start + 4096, recipe.sample_count))).columns
        assert (columns["theta_E_smooth"] > 0.3 * columns["theta_E"]).all()
