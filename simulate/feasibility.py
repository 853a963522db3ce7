"""What a recipe asks for that its systems cannot hold, as far as its bounds tell before anything is drawn."""

import warnings

import numpy as np

from schemas.dataset import DatasetClass, DatasetRecipe
from schemas.errors import RecipeError, RecipeWarning
from schemas.instrument import Detector
from schemas.substructure import (
    ColdPopulation,
    SelfInteractingPopulation,
    Subhalos,
    Vortex,
    Vortices,
    WarmPopulation,
)
from simulate.batch import Array
from simulate.cosmology import comoving_distance, unit_einstein_radius
from simulate.masses import power_law_inside
from simulate.quantiles import power_law_mean, quantile
from simulate.substructure.vortex import REFERENCE_MASS_EV
from simulate.substructure.vortices import half_wavelength

MIDDLE = np.array([0.5])
MOST_SUBHALOS = 50_000


def check_feasible(recipe: DatasetRecipe) -> None:
    """Refuse vortices longer than the field, more substructure than lens, and more subhalos than fit memory.

    Of long vortices replicas are only warned: the published data have them.
    """
    for one in recipe.classes:
        _check_length(recipe, one)
        _check_number(recipe, one)
        if recipe.compensate_mass:
            _check_mass(recipe, one)


def _check_length(recipe: DatasetRecipe, one: DatasetClass) -> None:
    instrument = recipe.instrument
    assert isinstance(instrument, Detector)
    half_field = instrument.num_pix * instrument.pixel_scale_arcsec / 2
    longest = _longest(recipe, one)
    if longest <= half_field:
        return
    found = (
        f"class {one.name!r}: vortices of up to {2 * longest:.3g} arcsec are longer than the field of"
        f" {2 * half_field:.3g} arcsec"
    )
    if recipe.family == "replica":
        text = f"recipe {recipe.name!r}, {found}: what is outside is not seen"
        warnings.warn(text, RecipeWarning, stacklevel=4)
        return
    raise RecipeError(
        found,
        expected=f"half-lengths of at most {half_field:.3g} arcsec, half the side of an image",
        where=f"classes.{one.name}.substructure, instrument of the recipe {recipe.name!r}",
        advice="raise the smallest axion_mass_ev (or lower the half-length), or take a larger num_pix",
    )


def _longest(recipe: DatasetRecipe, one: DatasetClass) -> float:
    """The largest half-length within the bounds, arcsec; 0 without vortices."""
    kind, largest = one.substructure, recipe.main_lens.theta_E.support[1]
    if isinstance(kind, Vortex):
        return kind.half_length_at_1e22_arcsec * REFERENCE_MASS_EV / kind.axion_mass_ev.support[0]
    if not isinstance(kind, Vortices):
        return 0.0
    if kind.half_length_theta_E is not None:
        return kind.half_length_theta_E.support[1] * largest
    assert kind.axion_mass_ev is not None
    # longest in light lenses, nearby or (their distance falls beyond z 1.6) very far away
    lens = np.array(recipe.redshifts.z_lens.support)
    source = np.full(2, recipe.redshifts.z_source.support[1])
    distance = comoving_distance(recipe.cosmology, lens)
    ratio = 1 - distance / comoving_distance(recipe.cosmology, source)
    lightest = np.full(2, recipe.main_lens.theta_E.support[0])
    mass = np.full(2, kind.axion_mass_ev.support[0])
    return float(half_wavelength(mass, lightest, ratio, distance / (1 + lens)).max())


def _typical_lens(recipe: DatasetRecipe) -> tuple[Array, Array, Array]:
    """theta_E, slope and Einstein radius of one solar mass where each prior has its median."""
    z_lens, z_source = (quantile(z, MIDDLE) for z in (recipe.redshifts.z_lens, recipe.redshifts.z_source))
    slope = quantile(recipe.main_lens.gamma, MIDDLE) if recipe.main_lens.kind == "EPL" else np.array([2.0])
    unit = unit_einstein_radius(recipe.cosmology, recipe.mass_conversion, z_lens, z_source)
    return quantile(recipe.main_lens.theta_E, MIDDLE), slope, unit


def _check_number(recipe: DatasetRecipe, one: DatasetClass) -> None:
    kind = one.substructure
    if not isinstance(kind, ColdPopulation | WarmPopulation | SelfInteractingPopulation):
        return
    theta_E, slope, unit = _typical_lens(recipe)
    inside = power_law_inside(theta_E, slope, np.zeros(1), kind.r_max_theta_E * theta_E)
    mass = kind.f_sub.support[1] * float((inside / unit**2)[0])
    number = mass / power_law_mean(kind.mass_msun)
    if number > MOST_SUBHALOS:
        raise RecipeError(
            f"class {one.name!r}: with the largest f_sub a typical lens has {number:.3g} subhalos",
            expected=f"at most {MOST_SUBHALOS:,}",
            where=f"classes.{one.name}.substructure of the recipe {recipe.name!r}",
            advice="raise the lowest mass of mass_msun, or lower f_sub",
        )


def _check_mass(recipe: DatasetRecipe, one: DatasetClass) -> None:
    """Of vortices the heaviest must be lighter than the lightest lens, of point masses the typical.

    Populations with f_sub < 1 are lighter than their lens on average, and by far.
    """
    kind = one.substructure
    if not isinstance(kind, Subhalos | Vortex | Vortices):
        return
    theta_E, _, unit = _typical_lens(recipe)
    number = kind.count if isinstance(kind, Subhalos) else 1
    mass = number * quantile(kind.mass_msun, MIDDLE)
    share = float((mass * unit**2 / theta_E**2)[0])
    if share >= 1:
        raise RecipeError(
            f"class {one.name!r}: the typical substructure weighs {share:.3g} times as much as a typical main"
            " lens inside theta_E, and nothing is left of the lens",
            expected="less than the main lens, where compensate_mass is true",
            where=f"compensate_mass, classes.{one.name}.substructure of the recipe {recipe.name!r}",
            advice="lower mass_msun, raise main_lens.theta_E, or set compensate_mass to false",
        )
    if isinstance(kind, Vortices):
        _check_heaviest(recipe, one, kind.mass_msun.support[1])


def _check_heaviest(recipe: DatasetRecipe, one: DatasetClass, mass: float) -> None:
    """One sample in ten thousand that leaves nothing of its lens would end a run in the middle."""
    lens = _lightest_lens(recipe)
    if mass >= lens:
        raise RecipeError(
            f"class {one.name!r}: the heaviest vortex of {mass:.3g} solar masses outweighs the lightest main"
            f" lens inside theta_E, {lens:.3g}, and nothing is left of the lens",
            expected=f"mass_msun below {lens:.3g}, where compensate_mass is true",
            where=f"compensate_mass, classes.{one.name}.substructure of the recipe {recipe.name!r}",
            advice="lower mass_msun, raise main_lens.theta_E or redshifts.z_lens, or set compensate_mass to"
            " false",
        )


def _lightest_lens(recipe: DatasetRecipe) -> float:
    """The smallest mass inside theta_E within all bounds, solar masses."""
    lens, z = recipe.main_lens, recipe.redshifts
    slopes = lens.gamma.support if lens.kind == "EPL" else (2.0,)
    ends = np.meshgrid(slopes, z.z_lens.support, z.z_source.support)
    slope, z_lens, z_source = (end.ravel() for end in ends)
    theta_E = np.full(slope.shape, lens.theta_E.support[0])
    flattest = np.full(slope.shape, lens.largest_ellipticity)
    unit = unit_einstein_radius(recipe.cosmology, recipe.mass_conversion, z_lens, z_source)
    return float((power_law_inside(theta_E, slope, flattest, theta_E) / unit**2).min())
