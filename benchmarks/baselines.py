"""The same images by lenstronomy itself, as its documentation shows it, independent of our engines.

Drawing the systems and turning them into lenstronomy's dictionaries is free for every baseline: only what
lenstronomy and numpy do per image is timed.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from astropy import constants, units
from astropy.cosmology import FlatLambdaCDM
from lenstronomy.Data.pixel_grid import PixelGrid
from lenstronomy.Data.psf import PSF
from lenstronomy.ImSim.image_model import ImageModel
from lenstronomy.LensModel.lens_model import LensModel
from lenstronomy.LightModel.light_model import LightModel
from lenstronomy.Util import image_util
from numpy.typing import NDArray

from benchmarks.cases import Case
from schemas.dataset import DatasetRecipe
from schemas.instrument import Detector, GaussianPSF
from simulate.batch import Deflectors, Profiles
from simulate.draw import Drawn
from simulate.noise import background_rms

# the names of a system's profiles and the parameters of each, in the same order
Named = tuple[list[str], list[dict[str, float]]]
Noise = Callable[[NDArray[np.float64], int], NDArray[Any]]


class Lenstronomy:
    """Systems as lenstronomy takes them, and how it renders them."""

    def __init__(self, case: Case, drawn: Drawn) -> None:
        systems, self.detector = drawn.systems, case.recipe.detector
        self.recipe = case.recipe
        self.redshifts = list(zip(drawn.columns["z_lens"], drawn.columns["z_source"], strict=True))
        self.lens = _by_row([_as_points(group) for group in systems.deflectors], systems.rows)
        self.source = _by_row(systems.source, systems.rows)
        self.noise = _noise(case, drawn)
        self.models: dict[tuple[str, ...], ImageModel] = {}
        self.rows = systems.rows

    def noise_free(self, row: int) -> NDArray[np.float64]:
        """One image, its objects built at the first of its kind."""
        names = (*self.lens[row][0], *self.source[row][0])
        if names not in self.models:
            self.models[names] = _image_model(self.lens[row], self.source[row], self.detector)
        return np.asarray(self.models[names].image(self.lens[row][1], self.source[row][1]))

    def idiomatic(self, images: int) -> NDArray[np.float32]:
        """Objects built once, one call and one draw of noise per image."""
        finished = np.empty((images, self.detector.num_pix, self.detector.num_pix), dtype=np.float32)
        for position in range(images):
            row = position % self.rows
            finished[position] = self.noise(self.noise_free(row), row)
        return finished

    def rebuilt(self, images: int) -> NDArray[np.float32]:
        """Objects and distances made anew for each image."""
        finished = np.empty((images, self.detector.num_pix, self.detector.num_pix), dtype=np.float32)
        for position in range(images):
            row = position % self.rows
            _distances(self.recipe, *self.redshifts[row])
            model = _image_model(self.lens[row], self.source[row], self.detector)
            finished[position] = self.noise(model.image(self.lens[row][1], self.source[row][1]), row)
        return finished


def _image_model(lens: Named, source: Named, detector: Detector) -> ImageModel:
    corner = -(detector.num_pix - 1) / 2 * detector.pixel_scale_arcsec
    if not isinstance(detector.psf, GaussianPSF):
        raise TypeError(f"the baseline has no {detector.psf.kind} PSF")
    return ImageModel(
        PixelGrid(
            nx=detector.num_pix,
            ny=detector.num_pix,
            ra_at_xy_0=corner,
            dec_at_xy_0=corner,
            transform_pix2angle=np.diag([detector.pixel_scale_arcsec] * 2),
        ),
        PSF(
            psf_type="GAUSSIAN",
            fwhm=detector.psf.fwhm_arcsec,
            pixel_size=detector.pixel_scale_arcsec,
            truncation=detector.psf.truncate,
        ),
        LensModel(lens[0]),
        LightModel(source[0]),
        kwargs_numerics={
            "supersampling_factor": detector.supersampling,
            "supersampling_convolution": detector.supersampling > 1,
        },
    )


def _distances(recipe: DatasetRecipe, z_lens: float, z_source: float) -> float:
    """Einstein radius of a solar mass, arcsec, from a cosmology made for this image, with astropy's units.

    Making the cosmology takes longer than all the rest: astropy looks up the units of its critical density.
    """
    universe = FlatLambdaCDM(H0=recipe.cosmology.H0, Om0=recipe.cosmology.Om0)
    lens, source = (universe.comoving_distance(z) for z in (z_lens, z_source))
    distances = (source - lens) * (1 + z_lens) / (lens * source)
    squared = 4 * constants.G * constants.M_sun / constants.c**2 * distances
    return float((np.sqrt(squared.to(units.one)) * units.rad).to_value(units.arcsec))


def _by_row(groups: Any, rows: int) -> list[Named]:
    found: list[Named] = [([], []) for _ in range(rows)]
    for group in groups:
        columns = {name: values.tolist() for name, values in group.parameters.items()}
        for member, row in enumerate(group.owner.tolist()):
            found[row][0].append(group.profile)
            found[row][1].append({name: values[member] for name, values in columns.items()})
    return found


def _as_points(group: Deflectors) -> Profiles:
    """lenstronomy has no line of mass: the points that ours stands for."""
    if group.profile != "LINE":
        return group
    p = group.parameters
    (count,) = set(p["points"].astype(int).tolist())
    along = np.linspace(-1, 1, count) * p["half_length"][:, None]
    points = {
        "theta_E": np.repeat(p["theta_E"] / np.sqrt(count), count),
        "center_x": (p["center_x"][:, None] + along * np.cos(p["angle"])[:, None]).ravel(),
        "center_y": (p["center_y"][:, None] + along * np.sin(p["angle"])[:, None]).ravel(),
    }
    return Deflectors("POINT_MASS", np.repeat(group.owner, count), points)


def _noise(case: Case, drawn: Drawn) -> Noise:
    if case.noise == "normal":
        return _one_normal(background_rms(case.recipe.detector))
    if case.recipe.noise.kind == "detector":
        return _lenstronomys(case.recipe.detector.total_exposure_s, background_rms(case.recipe.detector))
    if case.recipe.noise.kind == "model_i":
        return _counts(drawn.columns["exposure_time_s"].tolist(), case.recipe.noise.background_rms)
    return lambda image, _row: image


def _one_normal(rms: float) -> Noise:
    rng = np.random.default_rng(1)
    return lambda image, _row: image + rms * rng.standard_normal(image.shape)


def _lenstronomys(time_s: float, rms: float) -> Noise:
    def add(image: NDArray[np.float64], _row: int) -> NDArray[Any]:
        background = image_util.add_background(image, sigma_bkd=rms)
        return np.asarray(image + image_util.add_poisson(image, exp_time=time_s) + background)

    return add


def _counts(times_s: list[float], rms: float) -> Noise:
    rng = np.random.default_rng(1)

    def add(image: NDArray[np.float64], row: int) -> NDArray[Any]:
        rate = _lenstronomys(times_s[row], rms)(image, row)
        return rng.poisson(np.clip(times_s[row] * rate, 0, None))

    return add
