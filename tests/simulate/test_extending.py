"""The kind of substructure that `docs/extending.md` adds: its text is run as it stands."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import numpy as np
import pytest
from pydantic import Field, TypeAdapter

import schemas.substructure
from flows.catalogue import load_recipe
from schemas.columns import column_faults, columns_of
from schemas.dataset import DatasetRecipe
from schemas.reading import parse
from simulate.draw import draw
from simulate.render import noise_free, render
from simulate.substructure import KINDS

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"
BLOCK = re.compile(r"^```(py|yaml)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks() -> list[str]:
    """Schema, implementation and recipe."""
    section = PAGE.read_text().split("## A kind of substructure")[1].split("\n## ")[0]
    found = BLOCK.findall(section)
    assert [language for language, _ in found] == ["py", "py", "yaml"]
    return [text for _, text in found]


@pytest.fixture
def black_holes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The class of the page's recipe, after the page's edits."""
    schema, implementation, said = blocks()
    known = set(vars(schemas.substructure))
    exec(compile(schema, "schema", "exec"), vars(schemas.substructure))  # noqa: S102
    added = set(vars(schemas.substructure)) - known
    module = ModuleType("simulate.substructure.black_holes")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(implementation, "implementation", "exec"), vars(module))  # noqa: S102
    union = schemas.substructure.Substructure.__origin__ | vars(schemas.substructure)["BlackHoles"]
    said = parse(said, "the page").value
    yield said | {
        "substructure": TypeAdapter(Annotated[union, Field(discriminator="kind")]).validate_python(
            said["substructure"]
        )
    }
    del KINDS["black_holes"]
    for name in added:
        delattr(schemas.substructure, name)


@pytest.fixture
def recipe(black_holes: Any) -> DatasetRecipe:
    tiny = load_recipe(
        "tiny",
        [
            "compensate_mass=true",
            "instrument.num_pix=16",
            "classes.vortex.substructure.half_length_at_1e22_arcsec=0.01",
        ],
    )
    return tiny.model_copy(
        update={"classes": (tiny.classes[0], tiny.classes[1].model_copy(update=black_holes))}
    )


def test_the_example_fills_its_columns_in_bounds(recipe: DatasetRecipe) -> None:
    rendered = render(recipe, np.arange(40))
    assert column_faults(columns_of(recipe), rendered.params, rendered.label) == []
    assert set(rendered.label) == {0, 10}
    columns = {column.name: column for column in columns_of(recipe)}
    assert columns["black_hole_mass_msun"].labels == (10,)
    assert columns["black_hole_x"].turns


def test_the_example_is_drawn_and_compensated(recipe: DatasetRecipe) -> None:
    drawn = draw(recipe, np.arange(40))
    (holes,) = (group for group in drawn.systems.deflectors if group.profile == "POINT_MASS")
    assert np.bincount(holes.owner, minlength=40).tolist() == [0, 20] * 20
    smooth = drawn.columns["theta_E_smooth"] / drawn.columns["theta_E"]
    assert (smooth[1::2] < 1).all()
    assert (smooth[::2] == 1).all()


def test_both_engines_render_the_example(recipe: DatasetRecipe) -> None:
    drawn = draw(recipe, np.arange(4))
    reference = noise_free(recipe.model_copy(update={"engine": "lenstronomy"}), drawn)
    np.testing.assert_allclose(noise_free(recipe, drawn), reference, atol=1e-9 * reference.max())
