"""PSF kernels in files: found, checked and made part of the recipe."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows import orders
from flows.catalogue import load_recipe, shipped
from schemas.dataset import DatasetRecipe
from tests.flows.messages import one_message

Lensmill = Callable[..., Any]
BAD_INPUT = 2
KERNEL = np.ones((3, 3)) / 9
INSTRUMENT = (
    "instrument: {kind: detector, num_pix: 32, pixel_scale_arcsec: 0.1,"
    " psf: {kind: kernel_file, path: PATH, sampling: 1}}"
)


def written(folder: Path, path: str) -> Path:
    """`tiny` with a kernel from a file, as a recipe in a folder."""
    text = shipped()["tiny"].read_text()
    before = "instrument: {kind: preset, name: euclid_vis, num_pix: 32}"
    assert before in text
    recipe = folder / "mine.yaml"
    recipe.write_text(text.replace(before, INSTRUMENT.replace("PATH", path)))
    return recipe


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def test_a_path_counts_from_the_recipe(tmp_path: Path) -> None:
    (tmp_path / "psf").mkdir()
    np.save(tmp_path / "psf" / "kernel.npy", KERNEL)
    recipe = load_recipe(str(written(tmp_path, "psf/kernel.npy")), ["seed=5"])
    assert np.array(recipe.detector.psf.values).tobytes() == KERNEL.tobytes()  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "override",
    [
        "instrument.psf.path=other.npy",
        "instrument.psf={kind: kernel_file, path: other.npy}",
        "instrument={kind: detector, pixel_scale_arcsec: 0.1, psf: {kind: kernel_file, path: other.npy}}",
    ],
)
def test_a_path_in_an_override_counts_from_here(tmp_path: Path, override: str) -> None:
    np.save(tmp_path / "kernel.npy", KERNEL)
    np.save(tmp_path / "here" / "other.npy", KERNEL[::-1] * 0 + np.eye(3) / 3)
    recipe = load_recipe(str(written(tmp_path, "kernel.npy")), [override])
    assert recipe.detector.psf.values[0][0] == 1 / 3  # type: ignore[union-attr]


def test_an_absolute_path_is_taken_as_it_is(tmp_path: Path) -> None:
    np.save(tmp_path / "kernel.npy", KERNEL)
    recipe = load_recipe(str(written(tmp_path, str(tmp_path / "kernel.npy"))))
    assert recipe.detector.psf.kind == "kernel"


def test_the_stored_recipe_holds_the_values_and_no_path(tmp_path: Path) -> None:
    np.save(tmp_path / "kernel.npy", KERNEL)
    order = orders.prepare(str(written(tmp_path, "kernel.npy")), tmp_path / "out.zarr", None, [])
    stored = order.recipe.to_json()
    assert "kernel.npy" not in stored
    assert DatasetRecipe.model_validate_json(stored) == order.recipe
    (tmp_path / "stored.yaml").write_text(stored)
    assert load_recipe(str(tmp_path / "stored.yaml")).digest == order.recipe.digest


def test_the_digest_is_of_the_values(tmp_path: Path) -> None:
    recipe = str(written(tmp_path, "kernel.npy"))
    np.save(tmp_path / "kernel.npy", KERNEL)
    first = load_recipe(recipe)
    spelt = load_recipe(recipe, [f"instrument.psf={{kind: kernel, values: {KERNEL.tolist()}}}"])
    np.save(tmp_path / "kernel.npy", np.eye(3) / 3)
    assert first.digest == spelt.digest != load_recipe(recipe).digest


BAD_KERNELS: dict[str, tuple[np.ndarray, list[str]]] = {
    "not square": (np.ones((3, 5)) / 15, ["3 rows and row 0 has 5 values", "square"]),
    "even": (np.ones((4, 4)) / 16, ["4 pixels a side", "odd"]),
    "too large": (np.ones((303, 303)) / 303**2, ["303 pixels a side", "at most 301"]),
    "negative": (np.diag([2.0, -1.0, 0.0]), ["-1.0 at row 1, column 1"]),
    "not a number": (np.full((1, 1), np.nan), ["nan at row 0, column 0", "finite"]),
    "infinite": (np.full((1, 1), np.inf), ["inf at row 0, column 0", "finite"]),
    "not normalised": (np.ones((3, 3)), ["sums to 9", "divide it by its sum"]),
    "empty": (np.ones((0, 0)), ["0 pixels a side"]),
    "words": (np.array([["a"]]), ["holds <U1 of shape (1, 1)"]),
}


@pytest.mark.parametrize("fault", BAD_KERNELS)
def test_bad_kernels(lensmill: Lensmill, tmp_path: Path, fault: str) -> None:
    values, says = BAD_KERNELS[fault]
    np.save(tmp_path / "kernel.npy", values)
    said = lensmill("simulate", written(tmp_path, "kernel.npy"), "--out", tmp_path / "out.zarr")
    message = one_message(said, BAD_INPUT)
    for words in [*says, str(tmp_path / "kernel.npy"), "expected:", "where:", "to do:"]:
        assert words in message
    assert not (tmp_path / "out.zarr").exists()


@pytest.mark.parametrize("path", ["none.npy", ".", "/dev/zero", "mine.yaml"])
def test_bad_paths(lensmill: Lensmill, tmp_path: Path, path: str) -> None:
    said = lensmill("simulate", written(tmp_path, path), "--out", tmp_path / "out.zarr")
    message = one_message(said, BAD_INPUT)
    assert path in message
    assert "from the recipe's folder" in message
    assert not (tmp_path / "out.zarr").exists()
