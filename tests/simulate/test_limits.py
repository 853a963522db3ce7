"""Physics in its limits: what an image must be where the answer is known."""

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from scipy import stats

from flows.catalogue import load_recipe
from schemas.columns import macro_priors
from simulate.draw import draw
from simulate.render import noise_free

WIDE = (
    "instrument={kind: detector, num_pix: 256, pixel_scale_arcsec: 0.05, psf: {kind: none}, supersampling: 3}"
)


def images(ids: list[int], *overrides: str) -> np.ndarray:
    recipe = load_recipe("model_ii", overrides)
    return noise_free(recipe, draw(recipe, np.array(ids)))


def moments(image: np.ndarray) -> dict[str, float]:
    """Centroid and second moments about it, pixels; x is the column and y the row."""
    y, x = np.indices(image.shape)
    mean_x, mean_y = ((image * axis).sum() / image.sum() for axis in (x, y))
    second = {
        name: (image * product).sum() / image.sum()
        for name, product in {
            "xx": (x - mean_x) ** 2,
            "yy": (y - mean_y) ** 2,
            "xy": (x - mean_x) * (y - mean_y),
        }.items()
    }
    return {"x": mean_x, "y": mean_y, **second}


def assert_close(found: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    assert np.abs(found - expected).max() <= tolerance * expected.max()


def test_a_vortex_without_mass_is_no_substructure() -> None:
    vortices = [2, 5, 8]
    empty = images(vortices, "classes.vortex.substructure.mass_msun=0")
    assert_close(empty, images(vortices, "classes.vortex.substructure={kind: none}"), 1e-13)


@pytest.mark.parametrize(("sample", "name"), [(1, "cdm"), (2, "vortex")], ids=["subhalos", "vortex"])
def test_less_mass_changes_the_image_less_until_it_is_smooth(sample: int, name: str) -> None:
    smooth = images([sample], f"classes.{name}.substructure={{kind: none}}")
    change = [
        np.abs(images([sample], f"classes.{name}.substructure.mass_msun={mass}") - smooth).max()
        / smooth.max()
        for mass in ("1e10", "1e7", "1e5", "1")
    ]
    assert change[0] > change[1] > change[2] > change[3]
    assert change[0] > 0.01
    assert change[3] < 1e-6


@pytest.mark.parametrize("num_pix", [32, 33])
@pytest.mark.parametrize("supersampling", [1, 3])
def test_a_circular_lens_on_a_centred_source_is_symmetric(
    bare_image: Any, num_pix: int, supersampling: int
) -> None:
    image = bare_image(
        "main_lens.theta_E=1.0",
        f"instrument.num_pix={num_pix}",
        f"instrument.supersampling={supersampling}",
        "instrument.psf={kind: gaussian, fwhm_arcsec: 0.16}",
    )
    for turned in (np.rot90(image), image.T, image[::-1], image[:, ::-1]):
        assert_close(turned, image, 1e-5)


def test_an_ellipse_or_shear_breaks_the_symmetry(bare_image: Any) -> None:
    for broken in ("main_lens.e1=0.1", "shear.gamma2=0.05", "source.e1=0.2", "source.center_x=0.1"):
        image = bare_image("main_lens.theta_E=1.0", broken)
        assert np.abs(image.T - image).max() > 0.01 * image.max() or (
            np.abs(image[::-1] - image).max() > 0.01 * image.max()
        )


def test_a_circular_lens_makes_a_ring_at_its_einstein_radius(bare_image: Any) -> None:
    image = bare_image("main_lens.theta_E=1.5", "source.R_sersic=0.02", "instrument.supersampling=3")
    y, x = (np.indices(image.shape) - 31.5) * 0.1
    mean_radius = (np.hypot(x, y) * image).sum() / image.sum()
    assert mean_radius == pytest.approx(1.5, abs=0.02)


@pytest.mark.parametrize("n_sersic", [0.5, 1, 2])
@pytest.mark.parametrize("magnitude", [18, 20])
def test_an_unlensed_source_has_the_flux_of_its_magnitude(
    bare_image: Any, n_sersic: float, magnitude: float
) -> None:
    image = bare_image(WIDE, f"source.n_sersic={n_sersic}", f"source.magnitude={magnitude}", "source.e1=0.2")
    assert image.sum() == pytest.approx(10 ** (-0.4 * (magnitude - 25)), rel=0.01)


def test_the_psf_moves_light_but_keeps_it(bare_image: Any) -> None:
    sharp = bare_image(WIDE)
    blurred = bare_image(WIDE, "instrument.psf={kind: gaussian, fwhm_arcsec: 0.3}")
    assert blurred.sum() == pytest.approx(sharp.sum(), rel=1e-3)
    assert blurred.max() < 0.9 * sharp.max()
    widening = moments(blurred)["xx"] - moments(sharp)["xx"]
    assert widening == pytest.approx((0.3 / np.sqrt(8 * np.log(2)) / 0.05) ** 2, rel=0.03)


def test_x_rises_with_the_column_and_y_with_the_row(bare_image: Any) -> None:
    at = moments(bare_image("source.center_x=0.5", "source.center_y=-0.3", "source.R_sersic=0.1"))
    assert at["x"] == pytest.approx(31.5 + 5, abs=0.05)
    assert at["y"] == pytest.approx(31.5 - 3, abs=0.05)


def test_shear_stretches_along_its_own_direction(bare_image: Any) -> None:
    along_x = moments(bare_image(WIDE, "shear.gamma1=0.2"))
    along_y = moments(bare_image(WIDE, "shear.gamma1=-0.2"))
    diagonal = moments(bare_image(WIDE, "shear.gamma2=0.2"))
    # beta_x = (1 - gamma1) x and beta_y = (1 + gamma1) y: axes of the image in the inverse ratio
    assert along_x["xx"] / along_x["yy"] == pytest.approx((1.2 / 0.8) ** 2, rel=0.02)
    assert along_y["yy"] / along_y["xx"] == pytest.approx((1.2 / 0.8) ** 2, rel=0.02)
    assert diagonal["xy"] > 0.1 * diagonal["xx"]


def test_lensing_magnifies(bare_image: Any) -> None:
    assert bare_image("main_lens.theta_E=1.0").sum() > 3 * bare_image().sum()


def test_supersampling_converges(tiny: Any) -> None:
    drawn = draw(tiny, np.arange(24))
    one, three, five = (
        noise_free(load_recipe("tiny", [f"instrument.supersampling={factor}"]), drawn) for factor in (1, 3, 5)
    )
    peak = five.max(axis=(1, 2))
    coarse, fine = (np.abs(a - b).max(axis=(1, 2)) / peak for a, b in ((one, three), (three, five)))
    assert (fine < coarse).all()
    assert np.median(fine) < 0.02
    np.testing.assert_allclose(three.sum(axis=(1, 2)), five.sum(axis=(1, 2)), rtol=1e-2)


def test_supersampling_is_a_finer_camera_binned(bare_image: Any) -> None:
    lens = ("main_lens={kind: SIE, theta_E: 1.0, e1: 0.2}", "source.center_x=0.1")
    psf = "instrument.psf={kind: gaussian, fwhm_arcsec: 0.16}"
    sub_pixels = bare_image(*lens, psf, "instrument.num_pix=40", "instrument.supersampling=3")
    fine = bare_image(
        *lens, psf, "instrument.num_pix=120", "instrument.pixel_scale_arcsec=0.03333333333333333"
    )
    assert_close(sub_pixels, fine.reshape(40, 3, 40, 3).sum(axis=(1, 3)), 1e-10)


def test_the_smooth_lens_has_the_same_law_in_every_class(tiny: Any) -> None:
    drawn = draw(tiny, np.arange(4500))
    for name, _, _, _ in macro_priors(tiny):
        values = drawn.columns[name]
        by_class = [values[drawn.label == label] for label in (0, 1, 2)]
        if np.ptp(values) > 0:
            for first, second in combinations(by_class, 2):
                assert stats.ks_2samp(first, second).pvalue > 1e-3, name


def test_parameters_are_drawn_independently(tiny: Any) -> None:
    drawn = draw(tiny, np.arange(3000))
    values = [v for v in (drawn.columns[name] for name, *_ in macro_priors(tiny)) if np.ptp(v) > 0]
    assert len(values) > 8
    assert np.abs(np.corrcoef(values) - np.eye(len(values))).max() < 0.08
