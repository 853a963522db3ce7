"""What a store holds of each sample beside its image, when the recipe asks for it.

Products change no image, label or parameter and follow from recipe and sample number as these do, so they are
no part of a recipe's digest: `docs/decisions/0012-products-beside-the-images.md`.
"""

from typing import Annotated, Literal, NamedTuple

from pydantic import AfterValidator

from schemas.frozen import Frozen

Product = Literal["noise_free", "convergence", "deflection", "subhalos"]
PRODUCTS: tuple[Product, ...] = ("noise_free", "convergence", "deflection", "subhalos")


def _once_each(products: tuple[Product, ...]) -> tuple[Product, ...]:
    """In the usual order, so that spelling is no part of a plan."""
    repeated = sorted({name for name in products if products.count(name) > 1})
    if repeated:
        raise ValueError(f"{' and '.join(repeated)} named more than once")
    return tuple(name for name in PRODUCTS if name in products)


Products = Annotated[tuple[Product, ...], AfterValidator(_once_each)]


class ProductMap(NamedTuple):
    """A product of one number per pixel and component; the names and meaning of its first dimension."""

    dimension: str
    unit: str
    description: str


MAPS: dict[str, ProductMap] = {
    "noise_free": ProductMap(
        "channel", "as image", "the image before noise, PSF included, times image_factor as the image is"
    ),
    "convergence": ProductMap(
        "lens_plane", "1", "convergence of the substructure alone, mean over the pixel"
    ),
    "deflection": ProductMap(
        "component", "arcsec", "reduced deflection (alpha_x, alpha_y) by all masses, at the pixel's centre"
    ),
}


def map_shape(product: str, image: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of one sample's map beside an image of shape (channels, y, x)."""
    return {"noise_free": image[0], "convergence": 1, "deflection": 2}[product], *image[1:]


class CatalogueColumn(Frozen):
    """One column of the catalogue of subhalos."""

    name: str
    dtype: Literal["int64", "int32", "float64", "str"]
    unit: str
    description: str
    finite: bool = True


def _where_it_applies(name: str, unit: str, description: str) -> CatalogueColumn:
    return CatalogueColumn(name=name, dtype="float64", unit=unit, description=description, finite=False)


# A row per point mass, halo or line. Parameters have lenstronomy's names and the values that moved the rays.
CATALOGUE: tuple[CatalogueColumn, ...] = (
    CatalogueColumn(
        name="sample_id", dtype="int64", unit="1", description="number of the sample that it is in"
    ),
    CatalogueColumn(name="label", dtype="int32", unit="1", description="class of that sample"),
    CatalogueColumn(
        name="profile",
        dtype="str",
        unit="1",
        description="POINT_MASS, TNFW or TNFWC as in lenstronomy, or LINE, a straight line of mass",
    ),
    CatalogueColumn(
        name="mass_msun",
        dtype="float64",
        unit="Msun",
        description="mass as drawn: m200 of a halo before its truncation, else the whole mass",
    ),
    _where_it_applies(
        "bound_mass_msun", "Msun", "whole mass, after truncation; what its convergence adds to"
    ),
    CatalogueColumn(name="center_x", dtype="float64", unit="arcsec", description="middle, to the right"),
    CatalogueColumn(name="center_y", dtype="float64", unit="arcsec", description="middle, upwards"),
    _where_it_applies("theta_E", "arcsec", "Einstein radius of a point mass, or of a whole line as a point"),
    _where_it_applies("Rs", "arcsec", "scale radius"),
    _where_it_applies("alpha_Rs", "arcsec", "lenstronomy's deflection at Rs; of TNFW without truncation"),
    _where_it_applies("r_trunc", "arcsec", "truncation radius"),
    _where_it_applies("r_core", "arcsec", "core radius"),
    _where_it_applies("half_length", "arcsec", "half the length of a line"),
    _where_it_applies("angle", "rad", "direction of a line, anticlockwise from the x axis"),
    _where_it_applies("points", "1", "point masses that a line stands for; 0: continuous"),
)
