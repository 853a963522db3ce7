"""Recipes that ask for what their systems cannot hold."""

import warnings

import numpy as np
import pytest
from astropy import constants, units
from astropy.cosmology import FlatLambdaCDM

from flows.catalogue import load_recipe, recipes
from schemas.errors import RecipeError

VORTICES = "classes.vortex.substructure={kind: vortices, mass_msun: 3e9, %s}"


@pytest.mark.parametrize(
    "said", ["half_length_theta_E: {kind: uniform, low: 0.1, high: 1.6}", "axion_mass_ev: 1e-24"]
)
def test_vortices_longer_than_the_field_are_refused(said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe("tiny", [VORTICES % said])
    assert "longer than the field of 3.23 arcsec" in str(caught.value)
    assert "num_pix" in str(caught.value)


@pytest.mark.parametrize(
    "said", ["half_length_theta_E: {kind: uniform, low: 0.1, high: 1.5}", "axion_mass_ev: 3e-23"]
)
def test_vortices_that_fit_are_not(said: str) -> None:
    assert load_recipe("tiny", [VORTICES % said]).classes[2].substructure.kind == "vortices"


def test_of_a_survey_each_kind_of_long_vortex_is_refused() -> None:
    with pytest.raises(RecipeError, match="vortices of up to 300 arcsec are longer than the field"):
        load_recipe("tiny", ["classes.vortex.substructure.half_length_at_1e22_arcsec=3"])


def test_of_a_replica_with_long_vortices_there_is_one_warning() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(3):
            load_recipe("model_iii")
    assert len(caught) == 1
    assert "vortices of up to 6 arcsec are longer than the field of 5.12 arcsec" in str(caught[0].message)


@pytest.mark.parametrize("name", ["model_i", "model_ii", "tiny"])
def test_other_recipes_warn_of_nothing(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_recipe(name)


def test_a_list_of_recipes_warns_of_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert recipes()


def test_more_subhalos_than_memory_are_refused() -> None:
    said = "{kind: cold, f_sub: 0.1, mass_msun: {slope: -1.9, low: 1, high: 1e10}}"
    with pytest.raises(RecipeError, match="a typical lens has") as caught:
        load_recipe("tiny", [f"classes.cdm.substructure={said}"])
    assert "raise the lowest mass" in str(caught.value)


HEAVY = (
    "classes.vortex.substructure={kind: vortices, half_length_theta_E: 0.1,"
    " mass_msun: {kind: log_uniform, low: 3e9, high: %r}}"
)
COMPENSATED = ("compensate_mass=true",)


def lightest_lens() -> float:
    """Of `tiny`, solar masses, by scipy and the definition of the critical density."""
    cosmology = FlatLambdaCDM(70, 0.3, Tcmb0=0)
    lens, source, between = (
        cosmology.angular_diameter_distance(0.3),
        cosmology.angular_diameter_distance(2.0),
        cosmology.angular_diameter_distance(0.3, 2.0),
    )
    radius = (0.7 * units.arcsec).to(units.rad).value * lens
    critical = constants.c**2 / (4 * np.pi * constants.G) * source / (lens * between)
    ellipticity = np.hypot(0.3, 0.3)
    return float((critical * np.pi * radius**2 * (1 - ellipticity**2 / 4)).to(units.Msun).value)


def test_a_vortex_that_may_outweigh_its_lens_is_refused_though_it_rarely_would() -> None:
    limit = lightest_lens()
    load_recipe("tiny", [*COMPENSATED, HEAVY % (0.99 * limit)])
    with pytest.raises(RecipeError, match="outweighs the lightest main lens") as caught:
        load_recipe("tiny", [*COMPENSATED, HEAVY % (1.01 * limit)])
    assert "mass_msun" in str(caught.value)


def test_a_vortex_on_top_of_its_lens_may_weigh_anything() -> None:
    load_recipe("tiny", ["compensate_mass=false", HEAVY % 1e12])
