"""What is told of one sample that is rebuilt alone."""

from pydantic import Field

from schemas.frozen import Frozen
from schemas.store import Digest, Split


class Parameter(Frozen):
    """A number that was drawn or measured, with its unit and meaning."""

    name: str
    value: float
    unit: str
    description: str


class Comparison(Frozen):
    """One array (or the catalogue) of a sample beside what a store holds of it."""

    name: str
    difference: str = Field(
        description="what differs; empty when every bit is the same, or all is within the store's bound"
    )
    bound: float | None = Field(
        default=None, description="how far values may be off that went through quantisation; none did: none"
    )


class SampleSheet(Frozen):
    """One sample: where it belongs, and its parameters as far as they apply to its class and split."""

    sample_id: int = Field(ge=0)
    recipe: str
    digest: Digest
    engine: str
    class_name: str
    label: int = Field(ge=0)
    split: Split
    row: int = Field(ge=0, description="of its split")
    pixel_scale_arcsec: float
    parameters: tuple[Parameter, ...]
    subhalos: int = Field(ge=0, description="point masses, halos and lines")
    lines: int = Field(default=0, ge=0, description="straight lines of mass among them")
    compared: tuple[Comparison, ...] | None = Field(
        default=None, description="with the store that the sample was asked of; none for a recipe"
    )

    @property
    def pieces(self) -> str:
        """What the substructure consists of, in words."""
        kinds = (
            (self.subhalos - self.lines, "subhalo", "subhalos"),
            (self.lines, "line of mass", "lines of mass"),
        )
        told = [f"{count:,} {one if count == 1 else many}" for count, one, many in kinds if count]
        return " and ".join(told) or "no substructure"

    @property
    def identical(self) -> bool:
        """Whether no comparison found a difference."""
        return not any(one.difference for one in self.compared or ())
