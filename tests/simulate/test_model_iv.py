"""The recipe model_iv beside lenstronomy's SimAPI, set up as DeepLenseSim's Model IV sets it up."""

from typing import Any

import numpy as np
import pytest
from astropy.cosmology import FlatLambdaCDM
from lenstronomy.SimulationAPI.ObservationConfig.Euclid import Euclid
from lenstronomy.SimulationAPI.sim_api import SimAPI
from numpy.typing import NDArray

from flows.catalogue import load_recipe
from flows.galaxies import galaxies_of
from simulate.draw import draw
from simulate.engines import render_bands
from simulate.galaxies import with_images
from simulate.noise import background_rms
from simulate.render import render
from tests.galaxies import load_shipped, settings, spiral, write_galaxies

# lenstronomy warns of every cosmology that it is given
pytestmark = pytest.mark.filterwarnings("ignore:Cosmology is provided")
# of source, first and second component of the lens light, in g, r, i
MAGNITUDES = ((22, 17, 28), (19, 18, 28), (18, 19, 28))
MODEL = {
    "lens_model_list": ["SIE", "SHEAR"],
    "lens_redshift_list": [0.5, 0.5],
    "lens_light_model_list": ["SERSIC_ELLIPSE"] * 2,
    "source_light_model_list": ["INTERPOL"],
    "source_redshift_list": [1.0],
    "cosmo": FlatLambdaCDM(H0=70, Om0=0.3),
    "z_source_convention": 2.5,
}
# Published Model IV says 2.5 and relies on the redshift of the source alone. Before 1.11.6 lenstronomy ended
# the rays there; since then it ignores the list when all sources have one redshift, and takes this instead.
BEHIND_THE_SOURCE = {"2.5 as before lenstronomy 1.11.6": 1.0, "2.5 as since then": 2.5}
MACRO = [
    {"theta_E": 1.5, "e1": 0, "e2": 0, "center_x": 0, "center_y": 0},
    {"gamma1": 0.05, "gamma2": 0, "ra_0": 0, "dec_0": 0},
]


def published(columns: dict[str, float], band: int, z_source: float) -> NDArray[np.float64]:
    """The noise-free image of a system without substructure, by its drawn numbers."""
    pixels = spiral(int(columns["galaxy_index"]))[:, :, band].astype(float)
    pixels -= np.median(pixels[:50, :50])
    source, first, second = MAGNITUDES[band]
    light = [
        {"magnitude": first, "R_sersic": 0.4, "n_sersic": 2.3, "e1": 0, "e2": 0.05},
        {"magnitude": second, "R_sersic": 1.5, "n_sersic": 1.2, "e1": 0, "e2": 0.3},
    ]
    galaxy = {
        "magnitude": source,
        "image": pixels,
        "scale": 0.0025,
        "phi_G": columns["source_phi_G"],
        "center_x": columns["source_center_x"],
        "center_y": columns["source_center_y"],
    }
    euclid = Euclid(band="VIS", psf_type="GAUSSIAN", coadd_years=6).kwargs_single_band()
    api = SimAPI(64, euclid, {**MODEL, "z_source": z_source})
    centred = [{**one, "center_x": 0, "center_y": 0} for one in light]
    lens_light, sources, _ = api.magnitude2amplitude(centred, [galaxy])
    model = api.image_model_class({"point_source_supersampling_factor": 1})
    return np.asarray(model.image(MACRO, sources, lens_light))


@pytest.mark.parametrize("lenstronomy", BEHIND_THE_SOURCE)
def test_images_are_those_of_the_published_setup(lenstronomy: str) -> None:
    z_source = BEHIND_THE_SOURCE[lenstronomy]
    recipe = load_shipped("model_iv", *([] if z_source == 1 else ["deflection_convention=null"]))
    ids = np.arange(2) * len(recipe.classes)
    drawn = with_images(recipe, draw(recipe, ids), galaxies_of(recipe))
    images = render_bands("fused", drawn.bands, recipe.detectors)
    for row, band in np.ndindex(images.shape[:2]):
        numbers = {name: float(values[row]) for name, values in drawn.columns.items()}
        expected = published(numbers, band, z_source)
        assert np.abs(images[row, band] - expected).max() < 1e-10 * expected.max()


def test_the_noise_has_the_published_background() -> None:
    euclid = Euclid(band="VIS", psf_type="GAUSSIAN", coadd_years=6).kwargs_single_band()
    api = SimAPI(64, euclid, {**MODEL, "z_source": 1.0})
    for detector in load_shipped("model_iv").detectors:
        assert background_rms(detector) == pytest.approx(api.background_noise, rel=1e-12)


def test_the_choice_by_eye_is_kept_with_the_whole_file(tmp_path: Any) -> None:
    path = write_galaxies(tmp_path / "many.h5", count=75, side=16)
    chosen = load_recipe("model_iv", [settings(path)[0]]).source.galaxies  # type: ignore[union-attr]
    spirals = [k for k in range(75) if k % 5 != 4]
    assert chosen is not None
    assert len(chosen) == 47
    assert set(chosen) < set(spirals)
    left_out = [spirals.index(k) for k in spirals if k not in chosen]
    assert left_out == [0, 1, 4, 18, 32, 33, 34, 52, 53, *range(56, 60)]


def test_images_are_bounded_and_share_one_macro_model() -> None:
    recipe = load_shipped("model_iv", "classes.cdm.substructure.f_sub=0.005")
    rendered = render(recipe, np.arange(9), galaxies_of(recipe))
    assert rendered.image.shape == (9, 3, 64, 64)
    assert rendered.image.min() == 0
    assert (rendered.image.max(axis=(1, 2, 3)) == 1).all()
    columns = draw(recipe, np.arange(9)).columns
    for name, value in (("theta_E", 1.5), ("gamma1", 0.05), ("gamma2", 0), ("e1", 0), ("e2", 0)):
        assert (columns[name] == value).all(), name
