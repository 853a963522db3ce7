"""A real galaxy as source: an image from a file that the user has, in the form of Galaxy10 DECaLS."""

import math
from collections import Counter
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from schemas.bands import MAGNITUDE, Magnitude
from schemas.frozen import Frozen
from schemas.priors import Fixed, Prior
from schemas.quantity import Quantity

ZERO = Fixed(value=0.0)
CENTER_X = Quantity("arcsec", ge=-10, le=10, turns=True, law="x")
CENTER_Y = Quantity("arcsec", ge=-10, le=10, turns=True, law="y")
GALAXY_INDEX = Quantity("1", ge=0)
# colours of an image in a file, so bands of a recipe at most
COLOURS = 3
# with as many, a stored recipe can still be read back: schemas.reading stops at 100,000 values
MOST_GALAXIES = 50_000
Index = Annotated[int, Field(ge=0)]


def _each_once(numbers: tuple[int, ...]) -> tuple[int, ...]:
    (number, times), *_ = Counter(numbers).most_common(1)
    if times > 1:
        raise ValueError(f"{number} is given twice")
    return numbers


Indices = Annotated[
    tuple[Index, ...],
    Field(min_length=1, max_length=MOST_GALAXIES, strict=False),
    AfterValidator(_each_once),
]


class GalaxyChoice(Frozen):
    """Which galaxies of a file are used: all of them, unless something is said."""

    classes: Indices | None = Field(
        default=None, description="those that `ans` of the file puts in one of these"
    )
    redshift_below: float | None = Field(
        default=None, gt=0, description="those nearer, by `redshift` of the file"
    )
    positions: Indices | None = Field(
        default=None, description="of what the other two leave, in the order of the file, counted from 0"
    )


class GalaxyImage(Frozen):
    """Images of galaxies, one drawn for each system; band k is colour k of the file. lenstronomy's INTERPOL.

    `sha256` and `galaxies` are filled in from the file when a recipe is loaded. They are part of the
    identity of a data set, `file` and `choose` are not.
    """

    kind: Literal["galaxy_image"] = "galaxy_image"
    file: str | None = Field(
        default=None,
        min_length=1,
        max_length=4096,
        description="HDF5 with `images` (N, y, x, 3) of uint8 and, to choose by them, `ans` and `redshift`"
        " (N each), as Galaxy10 DECaLS; relative to the recipe; in an override, to the working directory",
    )
    choose: GalaxyChoice | None = Field(default=None, description="which galaxies of the file are used")
    own_galaxies_per_split: bool = Field(
        default=False,
        description="no galaxy is in two splits: galaxies go to the splits by their shares, as samples do",
    )
    scale_arcsec: float = Field(gt=0, le=10, description="side of a pixel of the galaxy's image, arcsec")
    sky_corner_pixels: int = Field(
        default=0,
        ge=0,
        le=4096,
        description="the median of this many pixels a side at row 0, column 0 is the image's sky, which is"
        " taken off; 0 leaves it",
    )
    magnitude: Annotated[Magnitude, MAGNITUDE] = Field(
        description="apparent magnitude of the whole image before lensing"
    )
    phi_G: Annotated[Prior, Quantity("rad", ge=-math.pi, le=math.pi, turns=True, law="handed_angle")] = Field(
        default=ZERO, description="angle by which the image is turned, anticlockwise"
    )
    center_x: Annotated[Prior, CENTER_X] = Field(
        default=ZERO, description="centre of the image, to the right"
    )
    center_y: Annotated[Prior, CENTER_Y] = Field(default=ZERO, description="centre of the image, upwards")
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = Field(
        default=None, description="SHA-256 of the file; a file of any other is refused"
    )
    galaxies: Indices | None = Field(
        default=None, description="the chosen galaxies by their number in the file"
    )

    def __hash__(self) -> int:
        # every look-up of a recipe in a cache would else hash thousands of numbers
        return hash((self.sha256, self.scale_arcsec, self.phi_G, self.center_x, len(self.galaxies or ())))

    @property
    def chosen(self) -> tuple[int, ...]:
        """The galaxies by their number in the file, which must have been looked at before."""
        if self.galaxies is None or self.sha256 is None:
            raise TypeError(
                "the galaxies' file was not looked at: load the recipe by flows.catalogue.load_recipe"
            )
        return self.galaxies
