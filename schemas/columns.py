"""Which numbers a store keeps of each sample.

The models of a recipe are the one source: a field that carries a `Quantity` becomes a column. The same
specification makes a pydantic model of one row (`row_model`, for people and for tests) and drives the
vectorised checks that every shard passes before it is committed (`column_faults`).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, create_model, model_validator

from schemas.bands import PerBand
from schemas.dataset import DatasetRecipe
from schemas.detectability import DetectabilityColumns
from schemas.frozen import Frozen
from schemas.galaxy_image import GALAXY_INDEX, GalaxyImage
from schemas.planes import AnyPlane, Pair, pairs_of
from schemas.priors import AnyPrior, Choice
from schemas.quantity import Quantity, quantities_of
from schemas.shares import SourceColumns
from schemas.system import SersicEllipse

Component = TypeVar("Component", bound=Frozen)


class ColumnSpec(Frozen):
    """One column of `params`: finite and in bounds where it applies, NaN for other classes and splits."""

    name: str = Field(description="name of the column")
    unit: str = Field(description="unit of its values; 1 for none")
    description: str = Field(description="meaning, for people")
    labels: tuple[int, ...] = Field(description="labels of the classes that it applies to")
    splits: tuple[str, ...] | None = Field(
        default=None, description="splits that it is filled in, if not all"
    )
    gt: float | None = None
    ge: float | None = None
    lt: float | None = None
    le: float | None = None
    headline: bool = Field(default=False, description="shown beside an image in galleries")
    turns: bool = Field(default=False, description="changes when the image is turned or mirrored")
    derived: bool = Field(
        default=False, description="follows from other columns and would betray the class of an image"
    )

    @property
    def quantity(self) -> Quantity:
        """Unit and bounds, as the recipe's field had them."""
        return Quantity(
            self.unit, self.gt, self.ge, self.lt, self.le, self.headline, self.turns, self.derived
        )


class CompensationColumns(Frozen):
    """What is kept where the main lens makes room for the mass of its substructure."""

    theta_E_smooth: Annotated[float, Quantity("arcsec", gt=0, le=20, derived=True, law="length")] = Field(
        description="Einstein radius of the main lens without the mass that the substructure takes over"
    )


def macro_priors(recipe: DatasetRecipe) -> Iterator[tuple[str, AnyPrior, Quantity, str]]:
    """Column name, prior, quantity and description of each parameter that every class draws, in draw order.

    The main lens has plain names, other components a prefix, with a number from the second of a kind on.
    What a recipe may leave out comes last.
    """
    later = {prefix for prefix, _ in (*_sources(recipe)[1:], *_lens_lights(recipe)[1:])}
    for prefix, component in _components(recipe):
        whose = f"{prefix.replace('_', ' ').strip()}: " if prefix else ""
        if isinstance(component, GalaxyImage):
            yield "galaxy_index", _any_of(component.chosen), GALAXY_INDEX, "number of the galaxy in its file"
        for name, prior, quantity, meaning in _priors_of(component, recipe.band_names):
            moved = prefix in later and name in ("center_x", "center_y")
            since = ", from that of the first" if moved else ""
            yield prefix + name, prior, quantity, whose + meaning + since


def plane_priors(recipe: DatasetRecipe) -> Iterator[tuple[str, str, AnyPlane, Pair]]:
    """Both column names, prior and pair of the parameters that are drawn together, the lens's first."""
    for prefix, component in _components(recipe):
        for name, pair in pairs_of(type(component)).items():
            plane = getattr(component, name)
            if plane is not None:
                yield prefix + pair.first, prefix + pair.second, plane, pair


def _sources(recipe: DatasetRecipe) -> list[tuple[str, SersicEllipse | GalaxyImage]]:
    return numbered("source_", recipe.sources)


def _lens_lights(recipe: DatasetRecipe) -> list[tuple[str, SersicEllipse]]:
    return numbered("lens_light_", recipe.lens_lights)


def _components(recipe: DatasetRecipe) -> Iterator[tuple[str, Frozen]]:
    first, *further = _sources(recipe)
    components: list[tuple[str, Frozen | None]] = [
        ("", recipe.redshifts),
        ("", recipe.main_lens),
        ("", recipe.shear),
        first,
        ("", recipe.noise),
        ("multipole_", recipe.multipole),
        *_lens_lights(recipe),
        *further,
    ]
    return ((prefix, component) for prefix, component in components if component is not None)


def _any_of(galaxies: tuple[int, ...]) -> Choice:
    return Choice(values=tuple(map(float, galaxies)))


def numbered(prefix: str, components: Sequence[Component]) -> list[tuple[str, Component]]:
    """Components of one kind with their prefixes: `source_`, `source_2_`, ..."""
    return [(f"{prefix}{k}_" if k > 1 else prefix, one) for k, one in enumerate(components, start=1)]


def _priors_of(component: Frozen, bands: tuple[str, ...]) -> Iterator[tuple[str, AnyPrior, Quantity, str]]:
    for name, (quantity, field) in quantities_of(component).items():
        prior, meaning = getattr(component, name), field.description or ""
        if isinstance(prior, PerBand):
            for band in bands:
                yield f"{name}_{band}", prior[band], quantity, f"{meaning}, band {band}"
        elif prior is not None:
            yield name, prior, quantity, meaning


@lru_cache(maxsize=16)
def columns_of(recipe: DatasetRecipe) -> tuple[ColumnSpec, ...]:
    """The columns of a recipe's data set, shared ones first."""
    everyone = tuple(one.label for one in recipe.classes)
    columns = [_column(name, q, text, everyone) for name, _, q, text in macro_priors(recipe)]
    if recipe.compensate_mass:
        added = quantities_of(CompensationColumns)
        columns += [_column(name, q, field.description or "", everyone) for name, (q, field) in added.items()]
    if any(one.source.lensed != 1 for one in recipe.classes):
        added = quantities_of(SourceColumns)
        columns += [_column(name, q, field.description or "", everyone) for name, (q, field) in added.items()]
    own: dict[str, ColumnSpec] = {}
    for one in recipe.classes:
        for name, (quantity, field) in quantities_of(one.substructure.Columns).items():
            labels = (*(own[name].labels if name in own else ()), one.label)
            own[name] = _column(name, quantity, field.description or "", labels)
    return (*columns, *own.values(), *_measured(recipe, everyone))


def _measured(recipe: DatasetRecipe, labels: tuple[int, ...]) -> Iterator[ColumnSpec]:
    if recipe.detectability:
        for name, (quantity, field) in quantities_of(DetectabilityColumns).items():
            yield _column(name, quantity, field.description or "", labels, recipe.detectability)


def _column(
    name: str,
    quantity: Quantity,
    description: str,
    labels: tuple[int, ...],
    splits: tuple[str, ...] | None = None,
) -> ColumnSpec:
    q = quantity
    return ColumnSpec(
        name=name,
        unit=q.unit,
        description=description,
        labels=labels,
        splits=splits,
        gt=q.gt,
        ge=q.ge,
        lt=q.lt,
        le=q.le,
        headline=q.headline,
        turns=q.turns,
        derived=q.derived,
    )


def column_faults(
    columns: tuple[ColumnSpec, ...],
    params: NDArray[np.float64],
    label: NDArray[np.int32],
    split: str | None = None,
) -> list[str]:
    """Everything wrong with a block of rows, one line per column and fault; empty when all is well.

    When the rows' split is not told, a column of some splits may be filled in or not.
    """
    if params.shape != (len(label), len(columns)):
        return [f"params has shape {params.shape}, expected {(len(label), len(columns))}"]
    faults = []
    for position, column in enumerate(columns):
        values = params[:, position]
        applies = np.isin(label, column.labels)
        if column.splits is not None:
            applies &= ~np.isnan(values) if split is None else split in column.splits
        wrong = {
            "not finite": applies & ~np.isfinite(values),
            f"not {column.quantity.bounds}": applies & np.isfinite(values) & ~_inside(column, values),
            f"set although the column does not apply to its {_whom(column)}": ~applies & ~np.isnan(values),
        }
        for what, rows in wrong.items():
            if rows.any():
                first = int(np.flatnonzero(rows)[0])
                faults.append(
                    f"{column.name}: {int(rows.sum())} of {len(label)} values {what}"
                    f" (row {first}: {values[first]:g}, label {label[first]})"
                )
    return faults


def _whom(column: ColumnSpec) -> str:
    return "class" if column.splits is None else "class and split"


def _inside(column: ColumnSpec, values: NDArray[np.float64]) -> NDArray[np.bool_]:
    inside = np.ones(values.shape, bool)
    with np.errstate(invalid="ignore"):
        for bound, keeps in (
            (column.gt, np.greater),
            (column.ge, np.greater_equal),
            (column.lt, np.less),
            (column.le, np.less_equal),
        ):
            if bound is not None:
                inside &= keeps(values, bound)
    return inside


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    sample_id: int = Field(ge=0)
    label: int


def row_model(columns: tuple[ColumnSpec, ...], labels: tuple[int, ...]) -> type[BaseModel]:
    """A pydantic model of one row, for those who read a store sample by sample."""

    def agree(self: Any) -> Any:
        if self.label not in labels:
            raise ValueError(f"label {self.label} is none of {labels}")
        for column in columns:
            value = getattr(self, column.name)
            if self.label not in column.labels:
                if not math.isnan(value):
                    raise ValueError(f"{column.name} does not apply to label {self.label}")
            elif column.splits is not None and math.isnan(value):
                continue
            elif not math.isfinite(value):
                raise ValueError(f"{column.name} is {value}")
            else:
                column.quantity.check(value)
        return self

    fields: Mapping[str, Any] = {
        column.name: (float, Field(description=f"{column.description} [{column.unit}]")) for column in columns
    }
    validators: dict[str, Any] = {"agree": model_validator(mode="after")(agree)}
    return create_model("Row", __base__=_Row, __validators__=validators, **fields)
