"""Images on their way to the device: the same wherever they are held, a little ahead, never all at once."""

import threading
from collections.abc import Callable, Generator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from flows.generate import Order
from schemas.errors import LensmillError, ResourceError
from schemas.experiment import ExperimentRecipe
from schemas.selection import Selection
from storage.reader import Store, open_store
from storage.reading.epochs import Batching, Epoch
from storage.reading.resident import MEMORY_SHARE, Resident
from storage.reading.selection import select
from storage.reading.streaming import Streamed
from train.data import load_samples
from train.evaluate import evaluate
from train.fit import fit
from train.images import AHEAD, DeviceImages, HostImages, Images, ahead, in_batches, open_images
from train.predict import predict

MakeExperiment = Callable[..., ExperimentRecipe]
CHOSEN = Selection(classes=("no_sub", "vortex"))
TRAINING = Batching(batch=8, seed=3, last="drop")
CPU = torch.device("cpu")


def _all(images: Images, epochs: tuple[int, ...] = (0, 1), start: int = 0) -> list[tuple[Any, bytes]]:
    return [
        (rows.tolist(), some.numpy().tobytes())
        for epoch in epochs
        for rows, some in images.batches(TRAINING, epoch, start)
    ]


def _on_device(store: Store) -> DeviceImages:
    return DeviceImages(Streamed(store, select(store, CHOSEN), ("image",), codes=True), CPU)


@pytest.mark.parametrize(("backend", "profile"), [
    ("zarr", "float32"), ("zarr", "quantised"), ("hdf5", "quantised"), ("zarr", "archive"),
])  # fmt: skip
def test_batches_are_the_same_wherever_images_are_held(
    format_store: Callable[[str, str], Order], backend: str, profile: str
) -> None:
    store = open_store(format_store(backend, profile).root)
    resident, streamed = (open_images(store, CHOSEN, mode) for mode in ("resident", "streamed"))
    assert isinstance(resident, HostImages)
    assert isinstance(resident.source, Resident)
    assert isinstance(streamed, HostImages)
    assert isinstance(streamed.source, Streamed)
    expected = _all(resident)
    assert len(expected) == 2 * (28 // 8) == 2 * resident.length(TRAINING)
    pixels = store.read("train", "image")
    for rows, values in expected:
        assert values == pixels[rows].tobytes()
    device = _on_device(store)
    assert device.length(TRAINING) == 28 // 8
    for other in (streamed, device):
        assert _all(other) == expected
        assert _all(other, (1,), start=2) == expected[-1:]
        rows = streamed.source.selected.rows[::-3]
        assert np.array_equal(other.take(rows), pixels[rows])


def test_a_pixel_that_was_never_stored_is_no_number(format_store: Callable[[str, str], Order]) -> None:
    images = _on_device(open_store(format_store("zarr", "quantised").root))
    assert images.arrays["image"].dtype == torch.uint16
    images.arrays["image"].view(torch.int16)[:, 0, 3, 4] = -1
    for _, some in images.batches(TRAINING, 0):
        assert torch.isnan(some[:, 0, 3, 4]).all()
        assert int(torch.isnan(some).sum()) == len(some)


@pytest.mark.parametrize("start", [0, 1, 3])
@pytest.mark.parametrize("size", [1, 5, 8, 41])
def test_rows_by_batches_are_those_of_the_reader(sound: Store, size: int, start: int) -> None:
    batching = Batching(batch=size, seed=2, mixed=2)
    source = Resident(sound, select(sound), ("label",))
    # 41 rows a batch make two of them; from the end on there is nothing
    start = min(start, len(source.epoch(batching, 1)))
    expected = [batch.rows.tolist() for batch in source.epoch(batching, 1, start)]
    found = in_batches(Epoch(batching, source.selected.rows, source.shard_rows, 1), start)
    assert [rows.tolist() for rows in found] == expected


# -- ahead


def test_a_few_are_made_ahead_by_another_thread() -> None:
    made: list[str] = []
    waiting = threading.Event()

    def making() -> Generator[int]:
        for number in range(10):
            made.append(threading.current_thread().name)
            if len(made) == 1 + AHEAD:
                waiting.set()
            yield number

    running = ahead(making())
    assert next(running) == 0
    assert waiting.wait(10), "nothing was made while the first was used"
    assert list(running) == list(range(1, 10))
    assert threading.current_thread().name not in made


def test_what_goes_wrong_ahead_is_raised_where_batches_are_used() -> None:
    def broken() -> Generator[int]:
        yield 1
        raise LensmillError("the disk is gone")

    running = ahead(broken())
    assert next(running) == 1
    with pytest.raises(LensmillError, match="the disk is gone"):
        next(running)


def test_no_thread_outlives_an_epoch_that_is_left(sound: Store) -> None:
    images = open_images(sound, CHOSEN, "streamed")
    before = threading.active_count()
    running = images.batches(TRAINING, 0)
    next(running)
    assert threading.active_count() > before
    del running
    names = [one.name for one in threading.enumerate()]
    assert threading.active_count() == before, names


# -- where images are held


def _with_memory(monkeypatch: pytest.MonkeyPatch, available: float) -> None:
    memory = SimpleNamespace(available=int(available))
    monkeypatch.setattr("psutil.virtual_memory", lambda: memory)


def test_images_that_do_not_fit_are_streamed(sound: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    enough = 28 * 16 * 16 * 4 / MEMORY_SHARE
    _with_memory(monkeypatch, enough + 1)
    fitting = open_images(sound, CHOSEN)
    _with_memory(monkeypatch, enough - 1)
    large = open_images(sound, CHOSEN)
    assert isinstance(fitting, HostImages)
    assert isinstance(fitting.source, Resident)
    assert isinstance(large, HostImages)
    assert isinstance(large.source, Streamed)
    with pytest.raises(ResourceError, match="28 rows need"):
        open_images(sound, CHOSEN, "resident")


def test_images_taken_from_many_shards_are_read_one_shard_at_a_time(
    format_store: Callable[[str, str], Order], monkeypatch: pytest.MonkeyPatch
) -> None:
    # those of a compressed store are decoded whole
    samples = load_samples(open_store(format_store("zarr", "archive").root), "train", (0, 1, 2))
    expected, shards, take = samples.take(), [], Streamed.take

    def watched(source: Streamed, rows: Any, *rest: Any) -> Any:
        shards.append(np.unique(rows // source.store.plan.shard_rows).tolist())
        return take(source, rows, *rest)

    monkeypatch.setattr(Streamed, "take", watched)
    places = np.array([41, 0, 17, 1, 40])
    assert np.array_equal(samples.take(places), expected[places])
    assert shards == [[0], [2], [5]]


AUGMENTED = {"quarter_turns": True, "flips": True, "rotation_degrees": 5.0}


@pytest.mark.parametrize("kind", ["classification", "regression", "anomaly"])
def test_the_same_run_comes_of_images_in_memory_and_streamed(
    experiment: MakeExperiment, sound_store: Order, tmp_path: Path, kind: str
) -> None:
    shas = {}
    for mode in ("resident", "streamed"):
        one = experiment(kind, data={"mode": mode, "max_per_class": 9}, augmentation=AUGMENTED)
        record = fit(one, sound_store.root, tmp_path / mode, quiet=True)
        assert record.epochs == 2
        shas[mode] = (record.weights_sha256, (tmp_path / mode / "samples.parquet").read_bytes())
    assert shas["resident"] == shas["streamed"]
    assert experiment(kind, data={"mode": "streamed"}).digest == experiment(kind).digest


def test_the_same_run_comes_of_any_kind_of_store(
    experiment: MakeExperiment, sound_store: Order, backend_store: Order, tmp_path: Path
) -> None:
    expected = fit(experiment(), sound_store.root, tmp_path / "zarr", quiet=True)
    streamed = experiment(data={"mode": "streamed"})
    found = fit(streamed, backend_store.root, tmp_path / "other", quiet=True)
    assert found.weights_sha256 == expected.weights_sha256
    report = evaluate(tmp_path / "other", backend_store.root)
    assert report.metrics == evaluate(tmp_path / "zarr", sound_store.root).metrics


def test_training_on_codes_differs_by_the_codes_alone(
    experiment: MakeExperiment, format_store: Callable[[str, str], Order], tmp_path: Path
) -> None:
    exact, codes = (
        fit(experiment(), format_store("zarr", profile).root, tmp_path / profile, quiet=True)
        for profile in ("float32", "quantised")
    )
    assert codes.weights_sha256 != exact.weights_sha256
    assert codes.val_loss == pytest.approx(exact.val_loss, rel=1e-3)
    again = fit(
        experiment(data={"mode": "streamed"}),
        format_store("hdf5", "quantised").root,
        tmp_path / "hdf5",
        quiet=True,
    )
    assert again.weights_sha256 == codes.weights_sha256


class _Watched:
    """The most images that were asked for at once, of a store that never fits."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.most = 0
        batches, take, codes = Streamed.epoch, HostImages.take, Store.codes

        def watched_batches(source: Streamed, batching: Batching, *rest: Any) -> Any:
            self.most = max(self.most, batching.batch)
            return batches(source, batching, *rest)

        def watched_take(images: HostImages, rows: Any) -> Any:
            self.most = max(self.most, len(rows))
            return take(images, rows)

        def refused(store: Store, split: str, array: str, rows: slice = slice(None)) -> Any:
            assert array not in ("image", "image_scale"), "images are read past the reader"
            return codes(store, split, array, rows)

        def streamed(store: Store, selection: Selection, names: Any, mode: Any, codes: bool) -> Streamed:
            assert mode in ("auto", "streamed")
            return Streamed(store, select(store, selection), names, codes)

        monkeypatch.setattr(Streamed, "epoch", watched_batches)
        monkeypatch.setattr(HostImages, "take", watched_take)
        monkeypatch.setattr(Store, "codes", refused)
        monkeypatch.setattr("train.images.open_rows", streamed)


@pytest.mark.parametrize("kind", ["classification", "anomaly"])
def test_nothing_asks_for_all_images_at_once(
    experiment: MakeExperiment,
    sound_store: Order,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    held = ("train.fit.LOOKED_AT", "train.fit.IMAGES_AT_ONCE", "train.predict.BATCH")
    fitted = ("train.evaluation.components.LOOKED_AT", "train.evaluation.components.AT_ONCE")
    beside = ("train.evaluation.speed.BATCH", *fitted)
    shown = ("train.evaluation.examples.AVERAGED", "train.evaluation.chosen.MOST")
    for name in (*held, *beside, *shown, "train.records.used_samples.IMAGES_AT_ONCE"):
        monkeypatch.setattr(name, 4)
    watched = _Watched(monkeypatch)
    objective = {"kind": "anomaly", "trained_on": ["no_sub"]} if kind == "anomaly" else {"kind": kind}
    training = {"epochs": 1, "batch_size": 2, "precision": "float32"}
    one = experiment(kind, objective=objective, training=training)
    fit(one, sound_store.root, tmp_path / "run", quiet=True)
    assert 0 < watched.most <= 8, "validation takes four training batches together"
    watched.most = 0
    evaluate(tmp_path / "run", sound_store.root)
    predict(tmp_path / "run", [sound_store.root], split="train")
    # six for the pictures of an anomaly search
    assert 0 < watched.most <= 6
