"""Training: the same seed gives the same run, the best epoch is kept, the folder is whole or not there."""

import csv
import itertools
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from flows.generate import Order
from schemas.errors import (
    DataError,
    PlaceError,
    RunError,
    StoreMissingError,
    StoreUnfinishedError,
    UnknownNameError,
)
from schemas.experiment import ExperimentRecipe
from schemas.run import RunRecord
from storage import commit
from storage.reader import Store, open_store
from train.data import load_samples
from train.fit import finished, fit
from train.module import LensModule, _rate
from train.predict import outputs
from train.records.run_folder import load_run

MakeExperiment = Callable[..., ExperimentRecipe]
FILES = {"run.json", "weights.safetensors", "samples.parquet", "history.csv", "history.parquet"}
AXION = {"kind": "regression", "targets": [{"column": "axion_mass_ev", "transform": "log10"}]}
WITHOUT_VALIDATION = "splits={train: 0.8, test: 0.2}"


def _history(run: Path) -> list[dict[str, str]]:
    with (run / "history.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_same_seed_gives_the_same_weights(
    experiment: MakeExperiment, sound_store: Order, tmp_path: Path
) -> None:
    shas, histories = [], []
    for name, seed in (("one", 5), ("again", 5), ("other", 6)):
        torch.rand(len(name))  # whatever was drawn before
        np.random.seed(len(name))  # noqa: NPY002 - what a library might have drawn from
        turned = experiment(seed=seed, augmentation={"quarter_turns": True, "flips": True})
        record = fit(turned, sound_store.root, tmp_path / name, quiet=True)
        shas.append(record.weights_sha256)
        histories.append([(row["train_loss"], row["val_loss"]) for row in _history(tmp_path / name)])
    assert shas[0] == shas[1] != shas[2]
    assert histories[0] == histories[1] != histories[2]
    assert (tmp_path / "one/weights.safetensors").read_bytes() == (
        tmp_path / "again/weights.safetensors"
    ).read_bytes()


def test_the_size_of_shards_changes_the_order_of_samples_and_nothing_else(
    experiment: MakeExperiment, sound_store: Order, another_store: Callable[..., Path], tmp_path: Path
) -> None:
    # a batch that is the whole split has the same gradient in any order, but for rounding
    whole = experiment(training={"epochs": 2, "batch_size": 42, "precision": "float32"})
    other = another_store("storage.shard_images=64")
    one, two = (
        fit(whole, root, tmp_path / root.parent.name, quiet=True) for root in (sound_store.root, other)
    )
    assert one.weights_sha256 != two.weights_sha256
    assert one.val_loss == pytest.approx(two.val_loss, rel=1e-4)
    assert _used(tmp_path / sound_store.root.parent.name, "train") == _used(
        tmp_path / other.parent.name, "train"
    )


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_the_epoch_with_the_lowest_validation_loss_is_kept(
    experiment: MakeExperiment, sound_store: Order, sound: Store, tmp_path: Path, kind: str
) -> None:
    # twelve images are soon known by heart, and the others get worse
    wild = experiment(
        kind,
        data={"max_per_class": 4},
        training={"epochs": 40, "batch_size": 12, "precision": "float32"},
        optimiser={"kind": "adamw", "learning_rate": 5e-3},
    )
    record = fit(wild, sound_store.root, tmp_path / "run", quiet=True)
    rows = _history(tmp_path / "run")
    assert [int(row["epoch"]) for row in rows] == list(range(1, 41))
    losses = [float(row["val_loss"]) for row in rows]
    assert 1 < record.best_epoch == 1 + int(np.argmin(losses)) < 40, "the trial does not tell epochs apart"
    assert record.val_loss == pytest.approx(min(losses))
    assert record.epochs == 40
    # and the weights are those of that epoch: they give its loss
    run = load_run(tmp_path / "run")
    samples = load_samples(sound, "val", run.objective.labels)
    output, _ = outputs(run, samples.take())
    target = run.objective.encode(sound, samples)
    loss = float(run.objective.loss(torch.from_numpy(output).float(), target))
    assert loss == pytest.approx(min(losses), rel=1e-4)


def test_patience_ends_a_run_early(experiment: MakeExperiment, sound_store: Order, tmp_path: Path) -> None:
    wild = experiment(
        training={"epochs": 40, "batch_size": 16, "patience": 2},
        optimiser={"kind": "adamw", "learning_rate": 0.05},
    )
    record = fit(wild, sound_store.root, tmp_path / "run", quiet=True)
    assert record.epochs == len(_history(tmp_path / "run")) < 40
    assert record.best_epoch == record.epochs - 2


def test_a_run_folder_holds_what_it_says_and_no_pickle(
    experiment: MakeExperiment, sound_store: Order, tmp_path: Path
) -> None:
    before = {name: path.read_bytes() for name, path in _files(sound_store.root).items()}
    record = fit(experiment(), sound_store.root, tmp_path / "deep" / "run", quiet=True)
    run = tmp_path / "deep" / "run"
    assert set(_files(run)) == FILES
    assert set(_files(tmp_path)) == {f"deep/run/{name}" for name in FILES}
    assert {name: path.read_bytes() for name, path in _files(sound_store.root).items()} == before
    for path in run.iterdir():
        content = path.read_bytes()
        # pickles open with their protocol, torch's checkpoints are zip files
        assert not content.startswith((b"\x80", b"PK")), path
    written = RunRecord.model_validate_json((run / "run.json").read_bytes())
    assert written == record
    tensors = load_file(run / "weights.safetensors")
    assert record.parameters == sum(
        value.numel()
        for name, value in tensors.items()
        if "running" not in name and "num_batches" not in name
    )


def _files(folder: Path) -> dict[str, Path]:
    return {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}


def test_a_record_says_what_was_trained_on_what(
    classifier: Path, experiment: MakeExperiment, sound_store: Order
) -> None:
    record = load_run(classifier).record
    assert record.experiment == experiment()
    assert record.experiment_digest == experiment().digest
    assert record.data.recipe_digest == sound_store.recipe.digest
    assert record.data.seed == sound_store.recipe.seed
    assert record.data.image_shape == (1, 16, 16)
    assert record.data.pixel_scale_arcsec == sound_store.recipe.detector.pixel_scale_arcsec
    assert (record.data.train_samples, record.data.val_samples) == (42, 6)
    assert {"torch", "timm", "lightning", "numpy", "lensmill", "python"} == set(record.versions)


def _used(run: Path, role: str) -> list[int]:
    table = pq.read_table(run / "samples.parquet")
    assert table.column_names == ["role", "seed", "sample_id"]
    assert set(table["role"].to_pylist()) <= {"train", "val", "calibration"}
    return [row["sample_id"] for row in table.to_pylist() if row["role"] == role]


@pytest.mark.parametrize(
    ("kind", "changes", "labels", "most"),
    [
        ("classification", {}, (0, 1, 2), None),
        ("classification", {"data": {"max_per_class": 5}}, (0, 1, 2), 5),
        ("classification", {"data": {"classes": ["no_sub", "vortex"], "max_per_class": 3}}, (0, 2), 3),
        ("regression", {"objective": AXION}, (2,), None),
    ],
    ids=["all", "some of each", "two classes", "where the column applies"],
)
def test_the_samples_are_written_down(
    experiment: MakeExperiment,
    sound_store: Order,
    sound: Store,
    tmp_path: Path,
    kind: str,
    changes: dict[str, Any],
    labels: tuple[int, ...],
    most: int | None,
) -> None:
    record = fit(experiment(kind, **changes), sound_store.root, tmp_path / "run", quiet=True)
    label, ids = sound.read("train", "label"), sound.read("train", "sample_id")
    train = np.sort(np.concatenate([ids[label == one][:most] for one in labels]))
    assert _used(tmp_path / "run", "train") == train.tolist()
    val = sound.read("val", "sample_id")[np.isin(sound.read("val", "label"), labels)]
    assert _used(tmp_path / "run", "val") == _used(tmp_path / "run", "calibration") == val.tolist()
    assert (record.data.train_samples, record.data.val_samples) == (len(train), len(val))
    assert set(pq.read_table(tmp_path / "run/samples.parquet")["seed"].to_pylist()) == {1001}
    assert not set(train) & set(sound.read("test", "sample_id"))


def test_a_binary_classifier(experiment: MakeExperiment, sound_store: Order, tmp_path: Path) -> None:
    fit(experiment(data={"classes": ["no_sub", "cdm"]}), sound_store.root, tmp_path / "run", quiet=True)
    run = load_run(tmp_path / "run")
    assert [one.name for one in run.record.head.classes] == ["no_sub", "cdm"]
    assert run.network(torch.zeros(1, 1, 16, 16)).shape == (1, 2)


@pytest.mark.parametrize("name", ["test_vit", "test_resnet"])
def test_a_timm_model_is_trained(
    experiment: MakeExperiment, sound_store: Order, tmp_path: Path, name: str
) -> None:
    record = fit(experiment(model={"name": name}), sound_store.root, tmp_path / "run", quiet=True)
    assert record.experiment.model.name == name
    assert load_run(tmp_path / "run").network(torch.zeros(2, 1, 16, 16)).shape == (2, 3)


@pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no `val_dataloader`")
def test_a_store_without_validation_keeps_the_last_epoch(
    experiment: MakeExperiment, another_store: Callable[..., Path], tmp_path: Path
) -> None:
    record = fit(experiment(), another_store(WITHOUT_VALIDATION), tmp_path / "run", quiet=True)
    assert (record.val_loss, record.best_epoch, record.epochs) == (None, 2, 2)
    assert record.data.val_samples == 0
    assert _used(tmp_path / "run", "val") == []
    assert {row["val_loss"] for row in _history(tmp_path / "run")} == {""}
    load_run(tmp_path / "run")


def test_training_warns_of_nothing(
    experiment: MakeExperiment, another_store: Callable[..., Path], tmp_path: Path
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(experiment(), another_store(WITHOUT_VALIDATION), tmp_path / "run", quiet=True)


def test_quiet_says_nothing(
    experiment: MakeExperiment, sound_store: Order, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    fit(experiment(), sound_store.root, tmp_path / "run", quiet=True)
    assert capfd.readouterr() == ("", "")


# -- what goes wrong


def test_a_run_that_exists_is_not_touched(
    experiment: MakeExperiment, sound_store: Order, tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name in ("run", "file"):
        with pytest.raises(PlaceError, match="exists"):
            fit(experiment(), sound_store.root, tmp_path / name, quiet=True)
    assert set(_files(tmp_path)) == {"run/thesis.tex", "file"}


class _MidwayError(Exception):
    """Something goes wrong in the middle."""


@pytest.mark.parametrize("error", [_MidwayError, MemoryError])
def test_nothing_is_left_when_training_fails_before_a_checkpoint(
    experiment: MakeExperiment,
    sound_store: Order,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: type[BaseException],
) -> None:
    real = LensModule.training_step

    def broken(self: LensModule, batch: Any, step: int) -> Any:
        assert len(list(tmp_path.iterdir())) == 1, "the folder is being filled"
        if step == 1:
            raise error("midway")
        return real(self, batch, step)

    monkeypatch.setattr(LensModule, "training_step", broken)
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - the type is looked at below
        fit(experiment(), sound_store.root, tmp_path / "run", quiet=True)
    assert not list(tmp_path.iterdir())
    assert isinstance(caught.value, error), "another error took the place of the one raised"


def test_what_a_killed_run_left_is_cleared_away(
    experiment: MakeExperiment, sound_store: Order, tmp_path: Path
) -> None:
    # numbers of processes end far below this one
    stale = tmp_path / ".run.999999999.partial"
    stale.mkdir()
    (stale / "history.csv").write_text("epoch,train_loss\n1,2\n")
    fit(experiment(), sound_store.root, tmp_path / "run", quiet=True)
    assert [row["epoch"] for row in _history(tmp_path / "run")] == ["1", "2"]
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_loss_that_is_no_number_is_told(
    experiment: MakeExperiment, sound_store: Order, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LensModule, "forward", lambda self, images: self.network(images * float("nan")))
    with pytest.raises(DataError, match="the loss became nan in step 0 of epoch") as caught:
        fit(experiment(), sound_store.root, tmp_path / "run", quiet=True)
    assert "learning_rate" in caught.value.advice
    assert not list(tmp_path.iterdir())


def test_a_validation_loss_that_is_never_a_number_is_told(
    experiment: MakeExperiment, sound_store: Order, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: LensModule, batch: Any, step: int) -> None:
        self.log("val_loss", torch.tensor(float("nan")), batch_size=1)

    monkeypatch.setattr(LensModule, "validation_step", broken)
    with pytest.raises(DataError, match="nan"):
        fit(experiment(), sound_store.root, tmp_path / "run", quiet=True)
    assert not list(tmp_path.iterdir())


def test_an_unfinished_or_missing_store_is_refused(
    experiment: MakeExperiment, store: Order, tmp_path: Path
) -> None:
    commit.unseal(store.root)
    with pytest.raises(StoreUnfinishedError):
        fit(experiment(), store.root, tmp_path / "run", quiet=True)
    with pytest.raises(StoreMissingError):
        fit(experiment(), tmp_path / "none.zarr", tmp_path / "run", quiet=True)
    assert [path.name for path in tmp_path.iterdir()] == [store.root.name]


def test_a_store_without_a_train_split_is_refused(
    experiment: MakeExperiment, another_store: Callable[..., Path], tmp_path: Path
) -> None:
    store = another_store("splits={train: 0, val: 0.5, test: 0.5}")
    with pytest.raises(DataError, match="no train split"):
        fit(experiment(), store, tmp_path / "run", quiet=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["lensmill_stem_wit", "efficientformer_l1"])
def test_a_model_that_cannot_be_had_leaves_nothing(
    experiment: MakeExperiment, sound_store: Order, tmp_path: Path, name: str
) -> None:
    with pytest.raises((UnknownNameError, DataError), match=name):
        fit(experiment(model={"name": name}), sound_store.root, tmp_path / "run", quiet=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(
    os.geteuid() == 0 and not Path("/proc").exists(), reason="no place that root cannot write"
)
def test_a_place_that_cannot_be_written(experiment: MakeExperiment, sound_store: Order) -> None:
    with pytest.raises(OSError, match="cannot make the folder /proc/run"):
        fit(experiment(), sound_store.root, Path("/proc/run"), quiet=True)


# -- finished


def test_finished_knows_its_own_run(
    classifier: Path, experiment: MakeExperiment, sound_store: Order, tmp_path: Path
) -> None:
    record = finished(experiment(description="other words"), sound_store.root, classifier)
    assert record == load_run(classifier).record
    assert finished(experiment(), sound_store.root, tmp_path) is None


def test_finished_refuses_another_experiment_or_other_data(
    classifier: Path, experiment: MakeExperiment, sound_store: Order, another_store: Callable[..., Path]
) -> None:
    with pytest.raises(RunError, match="expected: experiment"):
        finished(experiment(seed=3), sound_store.root, classifier)
    with pytest.raises(RunError, match="on data"):
        finished(experiment(), another_store("seed=77"), classifier)


# -- the schedule


def test_the_rate_rises_to_one_and_falls_to_nothing() -> None:
    rates = [_rate(step, 100, 0.1) for step in range(101)]
    assert rates[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert max(rates) == rates[10] == 1
    assert all(later < earlier for earlier, later in itertools.pairwise(rates[10:]))
    assert rates[100] == pytest.approx(0, abs=1e-12)
    assert _rate(0, 1, 0.0) == 1


def test_the_training_split_decides_the_standardisation(regressor: Path, sound_store: Order) -> None:
    store = open_store(sound_store.root)
    for one in load_run(regressor).record.head.targets:
        value = store.column("train", one.target.column)
        value = np.log10(value) if one.target.transform == "log10" else value
        assert (one.mean, one.spread) == pytest.approx((value.mean(), value.std()))
