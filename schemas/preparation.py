"""What is done to an image before a network sees it: its stretch, and in training its augmentation."""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from schemas.frozen import Extended, Frozen


class AsinhStretch(Frozen):
    """asinh(x / softening), then zero mean and unit spread over the training images."""

    kind: Literal["asinh"] = "asinh"
    softening: float | None = Field(
        default=None,
        gt=0,
        description="in the unit of the images; estimated from the training images when left out",
    )


class LogStretch(Frozen):
    """sign(x) log(1 + |x| / softening), then zero mean and unit spread over the training images.

    Both signs alike, since noise goes below zero and half of a dark sky must not be cut off.
    """

    kind: Literal["log"] = "log"
    softening: float | None = Field(
        default=None,
        gt=0,
        description="in the unit of the images; estimated from the training images when left out",
    )


class MaximumStretch(Frozen):
    """Each image over its own largest absolute pixel (of all channels), then as the others."""

    kind: Literal["max"] = "max"


class NoStretch(Frozen):
    """Pixels as they are, but for zero mean and unit spread over the training images."""

    kind: Literal["none"] = "none"


def _asinh_by_default(value: Any) -> Any:
    """A bare word is a stretch with its defaults; an option alone is one of asinh, once the only kind."""
    if isinstance(value, str):
        return {"kind": value}
    return {"kind": "asinh", **value} if isinstance(value, dict) else value


_Tagged = Annotated[AsinhStretch | LogStretch | MaximumStretch | NoStretch, Field(discriminator="kind")]
AnyStretch = Annotated[
    _Tagged,
    BeforeValidator(
        _asinh_by_default, json_schema_input_type=Literal["asinh", "log", "max", "none"] | _Tagged
    ),
]


class ScaleRange(Frozen):
    """Factors by which the content of an image grows: below 1 it shrinks."""

    low: float = Field(default=1.0, ge=0.5, le=1, description="smallest factor")
    high: float = Field(default=1.0, ge=1, le=2, description="largest factor")


class Augmentation(Extended):
    """Motions of an image, drawn anew for each image of each batch; targets follow.

    Quarter turns and flips move whole pixels and are exact. The rest interpolates, and what comes into view
    from outside is the image mirrored at its edge. Surface brightness is kept: an image that is scaled up by
    f has f^2 of the flux.
    """

    LATER: ClassVar[tuple[str, ...]] = ("rotation_degrees", "shift_pixels", "scale")

    quarter_turns: bool = Field(default=False, description="turn by a random multiple of 90 degrees")
    flips: bool = Field(default=False, description="mirror a random half of the images")
    rotation_degrees: float = Field(
        default=0.0, ge=0, le=180, description="turn by up to this angle either way, degrees"
    )
    shift_pixels: float = Field(
        default=0.0, ge=0, le=64, description="shift by up to this along each axis, pixels"
    )
    scale: ScaleRange | None = Field(
        default=None, description="scale about the centre by a factor that is uniform in its logarithm"
    )

    @model_validator(mode="after")
    def _scales_by_something(self) -> Self:
        if self.scale is not None and self.scale.low == self.scale.high:
            raise ValueError("scale.low and scale.high are both 1, which does nothing: leave scale out")
        return self

    @property
    def turns(self) -> bool:
        """Whether directions change."""
        return self.quarter_turns or self.flips or self.rotation_degrees > 0

    @property
    def interpolates(self) -> bool:
        """Whether pixels are moved by parts of their width."""
        return self.rotation_degrees > 0 or self.shift_pixels > 0 or self.scale is not None
