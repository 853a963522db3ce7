"""What only a machine with a GPU can show."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from schemas.selection import Selection
from storage.reader import open_store
from storage.reading.epochs import Batching
from train.evaluate import evaluate
from train.fit import fit
from train.images import DeviceImages, PinnedImages, open_images
from train.module import LensModule

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


@pytest.mark.parametrize("profile", ["float32", "quantised"])
def test_images_on_the_device_and_streamed_to_it_are_those_of_the_store(
    format_store: Callable[[str, str], Any], profile: str
) -> None:
    store = open_store(format_store("zarr", profile).root)
    pixels = torch.from_numpy(store.read("train", "image"))
    device = torch.device("cuda")
    held = open_images(store, Selection(), "resident", device)
    streamed = open_images(store, Selection(), "streamed", device)
    assert isinstance(held, DeviceImages)
    assert isinstance(streamed, PinnedImages)
    batching = Batching(batch=4, seed=1)
    for images in (held, streamed):
        # kept, so that memory which is used again too early shows
        found = [(rows, some) for epoch in (0, 1) for rows, some in images.batches(batching, epoch)]
        assert len(found) == 2 * images.length(batching)
        for rows, some in found:
            assert some.device.type == "cuda"
            assert torch.equal(some.cpu(), pixels[rows])


def test_a_resumed_run_goes_on_at_its_epoch(
    experiment: Callable[..., Any], sound_store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class KilledError(BaseException):
        pass

    real, steps = LensModule.augmented, []

    def broken(self: LensModule, batch: Any) -> Any:
        steps.append(self.current_epoch)
        if steps == [0, 0, 1]:
            raise KilledError
        return real(self, batch)

    monkeypatch.setattr(LensModule, "augmented", broken)
    trial = experiment(training={"epochs": 2, "batch_size": 16, "average": 0.9})
    with pytest.raises(KilledError):
        fit(trial, sound_store.root, tmp_path / "run", quiet=True)
    record = fit(trial, sound_store.root, tmp_path / "run", quiet=True)
    assert steps == [0, 0, 1, 1, 1]
    assert record.epochs == 2


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one GPU only")
def test_two_gpus_share_every_batch(experiment: Callable[..., Any], sound_store: Any, tmp_path: Path) -> None:
    options = {"epochs": 2, "batch_size": 16, "precision": "float32"}
    model = {"name": "test_vit"}
    alone = fit(experiment(training=options, model=model), sound_store.root, tmp_path / "one", quiet=True)
    both = fit(
        experiment(training={**options, "devices": 2}, model=model),
        sound_store.root,
        tmp_path / "two",
        quiet=True,
    )
    assert both.val_loss == pytest.approx(alone.val_loss, rel=1e-2)
