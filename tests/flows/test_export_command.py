"""Commands about finished models: export, and predict on what it made."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows.fitting import fit_experiment
from flows.generate import Order
from tests.flows.messages import one_message

BAD_INPUT = 2
Lensmill = Callable[..., Any]


@pytest.fixture(scope="module")
def trained(sound_store: Order, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run. Not to be changed."""
    run = tmp_path_factory.mktemp("trained") / "run"
    fit_experiment("classify_tiny", sound_store.root, run, ["training.epochs=1"], quiet=True)
    return run


def test_bad_images_may_be_skipped(lensmill: Lensmill, trained: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", np.stack([np.zeros((16, 16)), np.full((16, 16), np.nan)]))
    said = lensmill("predict", trained, tmp_path / "images.npy", "--skip-bad")
    assert said.code == 0
    assert "NaN or infinity" in said.out
    assert "None" not in said.out


def test_an_exported_model_predicts(
    lensmill: Lensmill, trained: Path, sound_store: Order, tmp_path: Path
) -> None:
    out = tmp_path / "exported"
    said = lensmill("export", trained, "--out", out, "--no-onnx", "--licence", "CC0-1.0")
    assert said.code == 0, said
    assert "ONNX was not asked for" in said.out
    assert f"read {out / 'card.md'}" in said.out
    assert "CC0-1.0" in (out / "card.md").read_text()
    said = lensmill("predict", out, sound_store.root, "--out", tmp_path / "table.csv")
    assert said.code == 0, said
    assert "exists" in one_message(lensmill("export", trained, "--out", out), BAD_INPUT)
