"""Magnitudes to amplitudes, as lenstronomy does it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lenstronomy.SimulationAPI.sim_api import SimAPI

from simulate.photometry import magnitude_to_flux, sersic_amplitude

BAND = {
    "pixel_scale": 0.1,
    "exposure_time": 100.0,
    "magnitude_zero_point": 25.72,
    "read_noise": 4.0,
    "ccd_gain": 1.0,
    "sky_brightness": 22.3,
    "seeing": 0.16,
    "num_exposures": 4,
    "psf_type": "GAUSSIAN",
}


@pytest.mark.parametrize(
    ("zero_point", "expected"), [(25.72, 259.58572414324465), (25.96, 323.8029528291004)]
)
def test_the_published_sources_have_the_published_amplitudes(zero_point: float, expected: float) -> None:
    amplitude = sersic_amplitude(np.array([20.0]), zero_point, np.array([0.25]), np.array([1.0]))
    assert amplitude[0] == pytest.approx(expected, rel=1e-13)


@given(
    magnitude=st.floats(15, 28),
    radius=st.floats(0.01, 3),
    index=st.floats(0.3, 8),
    e1=st.floats(-0.5, 0.5),
    e2=st.floats(-0.5, 0.5),
)
@settings(max_examples=60, deadline=None)
def test_amplitudes_agree_with_lenstronomy(
    magnitude: float, radius: float, index: float, e1: float, e2: float
) -> None:
    api = SimAPI(16, BAND, {"source_light_model_list": ["SERSIC_ELLIPSE"]})
    shape = {"R_sersic": radius, "n_sersic": index, "e1": e1, "e2": e2, "center_x": 0.0, "center_y": 0.0}
    _, (theirs,), _ = api.magnitude2amplitude(kwargs_source_mag=[{"magnitude": magnitude, **shape}])
    ours = sersic_amplitude(np.array([magnitude]), 25.72, np.array([radius]), np.array([index]))
    assert ours[0] == pytest.approx(theirs["amp"], rel=1e-12)


def test_five_magnitudes_are_a_factor_of_a_hundred() -> None:
    flux = magnitude_to_flux(np.array([20.0, 25.0]), 25.0)
    assert flux.tolist() == pytest.approx([100.0, 1.0], rel=1e-14)
