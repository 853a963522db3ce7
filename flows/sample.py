"""One sample of a recipe or of a store, rebuilt alone, with all that can be known of it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flows.catalogue import load_recipe
from flows.galaxies import galaxies_of
from schemas.columns import columns_of
from schemas.dataset import DatasetRecipe
from schemas.errors import DataError
from schemas.imported import ImportedData
from schemas.products import PRODUCTS
from schemas.sample import Comparison, Parameter, SampleSheet
from simulate.render import Rendered, render
from storage.files.place import Root, local, place
from storage.importing.orders import source_of
from storage.layout import locate_known, span_of
from storage.pictures.sample_folder import check_folder, write_folder
from storage.reader import Store, open_store


def sample(
    source: str | Root, index: int, out: str | Path | None = None, overrides: Sequence[str] = ()
) -> SampleSheet:
    """Rebuild sample `index` of a shipped recipe, a YAML file or a store; of a store, compare with it.

    `out` is a new or empty folder for its arrays, subhalos, parameters and a picture.
    """
    if out is not None:
        check_folder(local(out))
    store = _store(source, overrides)
    if store:
        _refuse_imported(store, index)
    recipe = store.recipe if store else load_recipe(str(source), overrides)
    split, row = locate_known(recipe, index)
    with_products = recipe.model_copy(update={"products": PRODUCTS})
    made = render(with_products, np.array([index]), galaxies_of(recipe))
    assert made.subhalos is not None
    sheet = SampleSheet(
        sample_id=index,
        recipe=recipe.name,
        digest=store.stored.digest if store else recipe.digest,
        engine=recipe.engine,
        class_name=recipe.classes[index % len(recipe.classes)].name,
        label=int(made.label[0]),
        split=split,  # type: ignore[arg-type]
        row=row,
        pixel_scale_arcsec=recipe.detector.pixel_scale_arcsec,
        parameters=_parameters(recipe, made),
        subhalos=len(made.subhalos["label"]),
        lines=int(np.count_nonzero(made.subhalos["profile"] == "LINE")),
        compared=_compare(store, made, split, row) if store else None,
    )
    if out is not None:
        arrays = {name: rows[0] for name, rows in made.arrays().items()}
        write_folder(local(out), sheet, arrays, made.subhalos, normalised=recipe.normalisation is not None)
    return sheet


def _store(source: str | Root, overrides: Sequence[str]) -> Store | None:
    """The store at a path or URL, or None for a recipe."""
    root = place(source)
    if isinstance(root, Path) and not root.is_dir():
        return None
    if overrides:
        raise DataError(
            f"a store has its recipe, which --set {overrides[0]} cannot change",
            expected="a recipe where keys are set",
            advice="name the recipe, or leave out --set",
        )
    return open_store(root)


def _refuse_imported(store: Store, index: int) -> None:
    """Nobody here can make it again, but where it came from is known."""
    if not isinstance(store.origin, ImportedData):
        return
    split, row = locate_known(store.origin, index)
    raise DataError(
        f"sample {index} has no recipe: it was imported from {source_of(store, index)}",
        expected="a store that lensmill simulated",
        where=f"row {row:,} of {split} in {store.root}",
        advice=f"look at that file in {store.origin.source}; what all samples have: lensmill info",
    )


def _parameters(recipe: DatasetRecipe, made: Rendered) -> tuple[Parameter, ...]:
    """Those that apply."""
    named = zip(columns_of(recipe), made.params[0].tolist(), strict=True)
    return tuple(
        Parameter(name=column.name, value=value, unit=column.unit, description=column.description)
        for column, value in named
        if not np.isnan(value)
    )


def _compare(store: Store, made: Rendered, split: str, row: int) -> tuple[Comparison, ...]:
    """Every array of the store that holds the sample, and its rows of the catalogue."""
    arrays, bounds = made.arrays(), _bounds(store, split, row)
    found = [
        Comparison(
            name=spec.name,
            difference=_difference(
                store.read(split, spec.name, slice(row, row + 1)), arrays[spec.name], bounds.get(spec.name)
            ),
            bound=bounds.get(spec.name),
        )
        for spec in store.plan.decoded
    ]
    if store.plan.catalogue:
        stored = store.subhalos(int(made.sample_id[0]))
        found.append(Comparison(name="subhalos", difference=_table_difference(stored, made.subhalos or {})))
    return tuple(found)


def _bounds(store: Store, split: str, row: int) -> dict[str, float]:
    """How far maps may be off that went through quantisation, as the shard's receipt has it."""
    span = span_of(store.plan, split, row)
    return {error.map: error.bound for error in store.receipts[split, span.shard].errors}


def _difference(stored: NDArray[Any], made: NDArray[Any], bound: float | None = None) -> str:
    if stored.shape != made.shape or stored.dtype != made.dtype:
        return f"{stored.dtype}{stored.shape} in the store, {made.dtype}{made.shape} made anew"
    if stored.tobytes() == made.tobytes():
        return ""
    wrong = (stored != made) & ~(np.isnan(stored) & np.isnan(made))
    most = np.abs(stored[wrong].astype(np.float64) - made[wrong]).max(initial=0.0)
    if bound is not None and most <= bound:
        return ""
    return f"{int(wrong.sum()):,} of {stored.size:,} values differ, by at most {most:.3g}"


def _table_difference(stored: Mapping[str, NDArray[Any]], made: Mapping[str, NDArray[Any]]) -> str:
    if stored.keys() != made.keys():
        return f"columns {', '.join(stored)} in the store, {', '.join(made)} made anew"
    counts = len(stored["label"]), len(made["label"])
    if counts[0] != counts[1]:
        return f"{counts[0]} rows in the store, {counts[1]} made anew"
    numbers = {name for name, values in made.items() if values.dtype != object}
    differ = [name for name in made if name in numbers and _difference(stored[name], made[name])]
    differ += [name for name in made if name not in numbers and list(stored[name]) != list(made[name])]
    return f"{', '.join(differ)} differ" if differ else ""
