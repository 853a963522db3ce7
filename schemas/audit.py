"""What an audit of a data set says: how well anything but the substructure tells its classes apart."""

from typing import Literal

from pydantic import Field

from schemas.frozen import Frozen
from schemas.store import Digest

Kind = Literal["column", "together", "flux", "image", "derived", "baseline"]
Verdict = Literal["even", "leak", "signal or leak", "differs", "separable"]
# From here on a network is not needed to tell two classes apart.
SEPARABLE = 0.95


class Separation(Frozen):
    """How well one number tells two classes apart: the area under its ROC curve, .5 when they are alike."""

    of: Literal["value", "distance", "classifier"] = Field(
        description="the value itself, its distance from the median, or the score of a fitted classifier"
    )
    auc: float = Field(ge=0, le=1, description="probability that the second class has the larger number")
    low: float = Field(ge=0, le=1, description="lower end of the 95% interval")
    high: float = Field(ge=0, le=1, description="upper end of the 95% interval")
    bound: float = Field(
        ge=0,
        description="distance from .5 beyond which chance does not reach, all tests of the audit counted",
    )

    @property
    def distance(self) -> float:
        """How far from .5; a cross-fitted classifier that is worse than chance has found nothing."""
        return self.auc - 0.5 if self.of == "classifier" else abs(self.auc - 0.5)

    @property
    def found(self) -> bool:
        """Whether this is more than chance."""
        return self.distance > self.bound


class AuditRow(Frozen):
    """One thing that two classes might differ in."""

    subject: str = Field(description="a column, an image statistic, or what a classifier was given")
    kind: Kind
    first: str = Field(description="name of a class")
    second: str = Field(description="name of the other class")
    gates: bool = Field(description="whether the audit fails when the classes differ in this")
    tolerance: float = Field(default=0.0, ge=0, description="distance from .5 that is let pass")
    separations: tuple[Separation, ...] = Field(min_length=1)

    @property
    def worst(self) -> Separation:
        """The separation that is furthest from chance."""
        return max(self.separations, key=lambda one: one.distance - one.bound)

    @property
    def verdict(self) -> Verdict:
        """`even` within chance; `leak` fails the audit; else what it may be."""
        found = [one for one in self.separations if one.found]
        if not found:
            return "even"
        if self.gates and any(one.distance > self.tolerance for one in found):
            return "leak"
        if self.kind == "derived":
            return "differs"
        return "separable" if max(one.distance for one in found) >= SEPARABLE - 0.5 else "signal or leak"


class Audited(Frozen):
    """What was audited."""

    store: str
    recipe: str
    family: str
    digest: Digest
    splits: tuple[str, ...]
    classes: tuple[str, ...] = Field(min_length=2)


class Audit(Frozen):
    """The result of an audit, kept as `audit.json`."""

    format_version: Literal[1] = 1
    about: Audited
    samples: dict[str, int] = Field(description="looked at, by class")
    strict: bool = Field(description="whether image statistics gate as well")
    level: float = Field(description="probability that a sound data set fails, at most")
    tests: int = Field(description="how many tests share that level")
    smallest_auc: float = Field(description="of one number, found in nine of ten audits of this size")
    rows: tuple[AuditRow, ...]
    constant: tuple[str, ...] = Field(description="columns that never change: no information and no variety")
    missing: dict[str, int] = Field(description="values that are not finite, by column or statistic")
    own: tuple[str, ...] = Field(description="the substructure's own columns, not audited")
    leaks: tuple[str, ...] = Field(description="one line each; empty when the data set passes")
    notes: tuple[str, ...] = Field(description="what else a user of the data should know")
    warnings: tuple[str, ...] = Field(description="what this audit cannot see")

    @property
    def passed(self) -> bool:
        """Whether nothing that gates differs between classes."""
        return not self.leaks
