"""The universe of a recipe, and the two shortcuts that the published data sets take."""

from typing import Literal

from pydantic import Field

from schemas.frozen import Frozen


class Cosmology(Frozen):
    """Flat Lambda-CDM without radiation; baryons change no distance and are not asked for."""

    H0: float = Field(default=70.0, gt=10, lt=200, description="Hubble constant, km/s/Mpc")
    Om0: float = Field(default=0.3, gt=0, lt=1, description="matter density today, critical densities")


class DeflectionConvention(Frozen):
    """Deflections are given for a source at another redshift than the one that is imaged.

    lenstronomy's SimAPI does so with `z_source_convention`: every deflection shrinks by
    [D_ls / D_s](z_source) / [D_ls / D_s](z_source_convention).
    """

    z_source_convention: float = Field(gt=0, le=1100, description="redshift that deflections are given for")
    cosmology: Cosmology = Field(description="the universe of the distances in that ratio")


class MassConversion(Frozen):
    """From a point mass to its Einstein radius.

    `angular_diameter` is right. `luminosity_shortcut` repeats DeepLenseSim: luminosity distances, their
    difference for the distance between lens and source, and 206265 arcseconds to a radian.
    """

    kind: Literal["angular_diameter", "luminosity_shortcut"] = Field(
        default="angular_diameter", description="which distances are used"
    )
