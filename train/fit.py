"""From an experiment recipe and a store to a run folder."""

import csv
import time
import warnings
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, TQDMProgressBar

from schemas.errors import DataError, RunError
from schemas.experiment import ExperimentRecipe
from schemas.run import RunRecord, TrainingData
from storage.reader import Store, open_store
from train.data import Batches, Samples, batches, load_samples
from train.models import build
from train.models.registry import Shape
from train.module import LensModule
from train.objectives import Objective, fit_head, objective_of
from train.run_folder import (
    HISTORY,
    RECORD,
    SAMPLES,
    WEIGHTS,
    device_name,
    new_folder,
    read_record,
    save_samples,
    save_weights,
    versions,
)
from train.stretch import Stretch, fit_stretch

PRECISIONS = {"float32": "32-true", "bfloat16": "bf16-mixed"}


def fit(experiment: ExperimentRecipe, data: Path, out: Path, quiet: bool = False) -> RunRecord:
    """Train a model on the `train` split of a store and keep the epoch with the best validation loss."""
    store = open_store(data)
    head = fit_head(experiment, store)
    objective = objective_of(head)
    lightning.seed_everything(experiment.seed, verbose=False)
    network = build(experiment.model.name, shape_of(store, objective.outputs))
    with new_folder(out) as folder:
        samples = {role: _samples(store, role, objective, experiment) for role in ("train", "val")}
        train, val = samples["train"], samples["val"]
        if train is None:
            raise DataError("the store has no train split", where=str(data))
        stretch = fit_stretch(experiment.stretch, train.image)
        module = LensModule(network, Stretch(stretch), objective, experiment)
        keeper = BestWeights(folder / HISTORY, quiet)
        started = time.perf_counter()
        _train(module, store, train, val, [keeper], quiet)
        seconds = time.perf_counter() - started
        keeper.restore(module)
        ids = {role: one.sample_id for role, one in samples.items() if one is not None}
        save_samples(folder / SAMPLES, ids, store.recipe.seed)
        record = RunRecord(
            experiment=experiment,
            experiment_digest=experiment.digest,
            data=_data(store, data, train, val),
            head=head,
            stretch=stretch,
            parameters=sum(one.numel() for one in network.parameters() if one.requires_grad),
            epochs=keeper.epochs,
            best_epoch=keeper.best_epoch,
            val_loss=keeper.best_loss if val is not None else None,
            train_seconds=seconds,
            device=device_name(),
            versions=versions(),
            weights_sha256=save_weights(network, folder / WEIGHTS),
        )
        (folder / RECORD).write_text(record.to_json())
    return record


def finished(experiment: ExperimentRecipe, data: Path, out: Path) -> RunRecord | None:
    """The record of a run folder that already holds this experiment on this data; None where there is none."""
    if not (out / RECORD).is_file():
        return None
    record, digest = read_record(out), open_store(data).stored.digest
    if record.experiment_digest != experiment.digest or record.data.recipe_digest != digest:
        raise RunError(
            f"{out} holds experiment {record.experiment_digest[:16]} on data {record.data.recipe_digest[:16]}",
            expected=f"experiment {experiment.digest[:16]} on data {digest[:16]}",
            advice="choose another path, or move the old run away",
        )
    return record


def shape_of(store: Store, outputs: int) -> Shape:
    """What a network must take and give on this store."""
    channels, _, side = store.plan.array("image").tail
    return Shape(channels, side, outputs)


def _samples(store: Store, role: str, objective: Objective, experiment: ExperimentRecipe) -> Samples | None:
    if not store.plan.rows_of(role):
        return None
    most = experiment.data.max_per_class if role == "train" else None
    return load_samples(store, role, objective.labels, most)


def _train(
    module: LensModule, store: Store, train: Samples, val: Samples | None, callbacks: list[Any], quiet: bool
) -> None:
    options = module.experiment.training
    precision = options.precision
    if precision == "auto":
        precision = "bfloat16" if torch.cuda.is_available() else "float32"
    if options.patience is not None and val is not None:
        callbacks = [*callbacks, EarlyStopping("val_loss", patience=options.patience)]
    if not quiet:
        callbacks = [*callbacks, TQDMProgressBar(refresh_rate=5, leave=False)]
    with warnings.catch_warnings():
        # samples are in memory, so worker processes would only copy them
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        trainer = lightning.Trainer(
            accelerator="auto",
            devices=1,
            precision=PRECISIONS[precision],  # type: ignore[arg-type]
            max_epochs=options.epochs,
            gradient_clip_val=module.experiment.optimiser.clip,
            callbacks=callbacks,
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=not quiet,
            num_sanity_val_steps=0,
            log_every_n_steps=1,
        )
        loaders = [
            batches(
                Batches(train.image, module.objective.encode(store, train)),
                options.batch_size,
                module.experiment.seed,
            ),
            batches(Batches(val.image, module.objective.encode(store, val)), 4 * options.batch_size)
            if val
            else None,
        ]
        trainer.fit(module, loaders[0], loaders[1])


class BestWeights(Callback):
    """Keeps the weights of the epoch with the lowest validation loss, and the history of losses."""

    def __init__(self, history: Path, quiet: bool) -> None:
        self.history = history
        self.quiet = quiet
        self.best_loss = float("inf")
        self.best_epoch = 0
        self.epochs = 0
        self.weights: dict[str, torch.Tensor] = {}
        self.started = time.perf_counter()

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.epochs = trainer.current_epoch + 1
        # without a validation split the last epoch is as good as any
        loss = metrics.get("val_loss", self.best_loss)
        if loss <= self.best_loss:
            self.best_loss, self.best_epoch = loss, self.epochs
            state = pl_module.network.state_dict()  # type: ignore[union-attr]
            self.weights = {name: value.detach().clone() for name, value in state.items()}
        self._write(metrics)

    def _write(self, metrics: dict[str, float]) -> None:
        seconds = round(time.perf_counter() - self.started, 2)
        row = {
            "epoch": self.epochs,
            "train_loss": metrics.get("train_loss"),
            "val_loss": metrics.get("val_loss"),
        }
        new = not self.history.exists()
        with self.history.open("a", newline="") as file:
            writer = csv.DictWriter(file, [*row, "seconds"])
            if new:
                writer.writeheader()
            writer.writerow({**row, "seconds": seconds})

    def restore(self, module: LensModule) -> None:
        """Put the kept weights back."""
        module.network.load_state_dict(self.weights)


def _data(store: Store, path: Path, train: Samples, val: Samples | None) -> TrainingData:
    channels, height, width = store.plan.array("image").tail
    return TrainingData(
        store=str(path),
        recipe_name=store.recipe.name,
        recipe_digest=store.stored.digest,
        seed=store.recipe.seed,
        image_shape=(channels, height, width),
        pixel_scale_arcsec=store.recipe.detector.pixel_scale_arcsec,
        classes=store.plan.classes,
        columns=store.plan.columns,
        train_samples=len(train),
        val_samples=len(val) if val is not None else 0,
    )
