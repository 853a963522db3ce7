"""docs/kinds.md: a section, all columns and a picture for each kind, and the script that draws them."""

import re
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from benchmarks import kinds
from schemas.quantity import quantities_of
from schemas.substructure import Substructure
from simulate.draw import draw
from simulate.masses import total
from simulate.smooth_model import smooth_part

DOCS = Path(__file__).parent.parent / "docs"
KINDS = {kind.model_fields["kind"].default: kind for kind in get_args(get_args(Substructure)[0])}


def section(kind: str) -> str:
    """What the page says of a kind."""
    text = (DOCS / "kinds.md").read_text()
    found = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    (one,) = (part for part in found if part.startswith(f"{kind}\n"))
    return one


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_has_every_kind_with_its_columns_and_a_picture(kind: str) -> None:
    said = section(kind)
    for column in quantities_of(KINDS[kind].Columns):
        assert f"`{column}`" in said
    assert f"(pictures/kind_{kind}.png)" in said
    assert (DOCS / "pictures" / f"kind_{kind}.png").is_file()
    assert re.search(r"\b(19|20)\d\d\b", said) or kind == "none"


def test_there_is_an_example_of_every_kind() -> None:
    assert set(kinds.EXAMPLES) == set(KINDS)


def test_every_picture_of_the_documents_is_small() -> None:
    for picture in (DOCS / "pictures").glob("*.png"):
        assert picture.stat().st_size < 250_000, picture.name


@pytest.mark.parametrize("kind", ["subhalos", "vortex", "vortices"])
def test_the_convergence_that_is_shown_holds_the_mass(kind: str) -> None:
    recipe = kinds.recipe_of(kind)
    drawn = draw(recipe, np.array([kinds.SAMPLE]))
    kept = {group.profile for group in smooth_part(recipe, drawn).deflectors}
    added = [group for group in drawn.systems.deflectors if group.profile not in kept]
    shown = kinds.convergence(added, recipe)
    mass = shown.sum() * recipe.detector.pixel_scale_arcsec**2 / np.pi
    # an edge of the field is where a mass outside would be felt; none is
    assert mass == pytest.approx(sum(float(total(group).sum()) for group in added), rel=0.02)


def test_it_draws_what_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kinds.main(["--out", str(tmp_path), "--only", "none", "vortices"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kind_none.png", "kind_vortices.png"]
    assert "kind_vortices.png" in capsys.readouterr().out
