"""Several bands of one image: their names, their instruments, and numbers that differ between them."""

import re
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag

from schemas.frozen import Frozen
from schemas.instrument import PSF, Detector
from schemas.priors import AnyPrior, Prior
from schemas.quantity import Quantity

MOST_BANDS = 16
MAGNITUDE = Quantity("mag", ge=5, le=40, headline=True, law="magnitude")
# what stands in a prior: a mapping with one of these is a prior that lacks its kind
PRIOR_WORDS = {"kind", *(name for one in AnyPrior.__args__ for name in one.model_fields)}


def _checked_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9]{0,15}", name) or name in PRIOR_WORDS:
        raise ValueError(
            f"{name!r} is no name for a band: up to 16 letters and digits, a letter first,"
            f" and none of {', '.join(sorted(PRIOR_WORDS))}"
        )
    return name


BandName = Annotated[str, AfterValidator(_checked_name)]


class Band(Frozen):
    """A band by its name. What it says of the instrument takes the place of the recipe's `instrument`."""

    name: BandName = Field(description="name of the band; it ends the columns of the band")
    psf: PSF | None = Field(default=None, description="point spread function of this band")
    magnitude_zero_point: float | None = Field(
        default=None, ge=0, le=60, description="magnitude of a source of one electron per second, mag"
    )
    exposure_time_s: float | None = Field(default=None, gt=0, description="length of one exposure, s")
    num_exposures: int | None = Field(default=None, ge=1, description="exposures added up")
    read_noise_e: float | None = Field(
        default=None, ge=0, description="read noise of one exposure, electrons rms"
    )
    sky_brightness_mag_arcsec2: float | None = Field(
        default=None, ge=0, le=60, description="sky, magnitudes per square arcsecond"
    )

    def detector(self, instrument: Detector) -> Detector:
        """The instrument as this band has it. All bands share the pixels."""
        own = {name: value for name, value in self if name != "name" and value is not None}
        return instrument.model_copy(update=own)


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


_NamedBand = Annotated[Band, BeforeValidator(_named, json_schema_input_type=str | Band)]


def _some(bands: tuple[Band, ...]) -> tuple[Band, ...]:
    # said here, since pydantic would count only the bands that are right
    if not 1 <= len(bands) <= MOST_BANDS:
        raise ValueError(
            f"there are {len(bands)} bands, but must be 1 to {MOST_BANDS}; leave out `bands` for one"
        )
    return bands


Bands = Annotated[tuple[_NamedBand, ...], AfterValidator(_some)]


class PerBand(dict[str, AnyPrior]):
    """A prior for each band by its name. It is never changed, so that recipes can be keys of caches."""

    def __hash__(self) -> int:  # type: ignore[override] # dictionaries have none
        return hash(frozenset(self.items()))


_PerBand = Annotated[
    dict[BandName, Annotated[Prior, MAGNITUDE]], Field(min_length=1), AfterValidator(PerBand)
]


def _form(value: Any) -> str:
    by_band = isinstance(value, dict) and not PRIOR_WORDS & value.keys()
    return "(by band)" if by_band else "(one prior)"


Magnitude = Annotated[
    Annotated[Prior, Tag("(one prior)")] | Annotated[_PerBand, Tag("(by band)")], Discriminator(_form)
]


def check_bands(bands: Sequence[Band] | None, supersampling: int, magnitudes: dict[str, Any]) -> None:
    """Refuse, with a ValueError, what does not fit together; `magnitudes` by where they stand."""
    names = [band.name for band in bands or ()]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"bands repeat the name {', '.join(repeated)}")
    for band in bands or ():
        sampling = getattr(band.psf, "sampling", 1)
        if sampling not in (1, supersampling):
            raise ValueError(
                f"band {band.name}: psf.sampling is {sampling}, but must be 1 or the supersampling of the"
                f" instrument, which is {supersampling}"
            )
    for where, magnitude in magnitudes.items():
        if isinstance(magnitude, PerBand):
            _check_magnitude(where, list(magnitude), names)


def _check_magnitude(where: str, given: list[str], names: list[str]) -> None:
    if not names:
        raise ValueError(f"{where} is given by band, but the recipe has no bands: add bands: {given}")
    missing, unknown = [n for n in names if n not in given], [n for n in given if n not in names]
    if missing or unknown:
        faults = [f"lacks {', '.join(missing)}"] if missing else []
        faults += [f"has {', '.join(unknown)}, which is no band"] if unknown else []
        raise ValueError(
            f"{where} {' and '.join(faults)}: give a magnitude for each of {', '.join(names)}, or one for all"
        )
