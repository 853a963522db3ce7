"""What only a machine with a GPU can show."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from train.evaluate import evaluate
from train.fit import fit

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


def test_training_and_evaluation_on_the_device(
    experiment: Callable[..., Any], sound_store: Any, tmp_path: Path
) -> None:
    record = fit(experiment(), sound_store.root, tmp_path / "run", quiet=True)
    assert record.device == torch.cuda.get_device_name()
    assert evaluate(tmp_path / "run", sound_store.root).samples
