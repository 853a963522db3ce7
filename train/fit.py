"""From an experiment recipe and a store to a run folder."""

import contextlib
import csv
import logging
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import lightning
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, TQDMProgressBar

from schemas.errors import DataError, RunError
from schemas.experiment import ExperimentRecipe
from schemas.run import RunRecord, TrainingData
from storage.place import Root
from storage.reader import Store, open_store
from train.autoencoding import module_of
from train.data import Samples, chunks, load_samples
from train.feeding import training_feed, validation_feed
from train.models.registry import Shape
from train.models.weights import check_same_weights
from train.module import LensModule
from train.objectives import Objective, fit_head, objective_of
from train.phases import NewPhase
from train.run_folder import (
    HISTORY,
    RECORD,
    SAMPLES,
    WEIGHTS,
    device,
    device_name,
    new_folder,
    read_record,
    save_samples,
    save_weights,
    versions,
)
from train.stretch import LOOKED_AT, Stretch, fit_stretch
from train.target_motion import motion_of

# Images of the training samples that are looked at together after training.
IMAGES_AT_ONCE = 256
PRECISIONS = {"float32": "32-true", "bfloat16": "bf16-mixed"}


def fit(experiment: ExperimentRecipe, data: Root, out: Path, quiet: bool = False) -> RunRecord:
    """Train a model on the `train` split of a store and keep the epoch with the best validation loss.

    A progress bar is shown on a terminal unless `quiet`.
    """
    quiet = quiet or not sys.stderr.isatty()
    store = open_store(data)
    head = fit_head(experiment, store)
    objective = objective_of(head)
    lightning.seed_everything(experiment.seed, verbose=False)
    model = objective.build(experiment.model, shape_of(store, objective.outputs))
    network = model.network
    with new_folder(out) as folder:
        samples = {role: _samples(store, role, objective, experiment) for role in ("train", "val")}
        train, val = samples["train"], samples["val"]
        if train is None:
            raise DataError("the store has no train split", where=str(data))
        stretch = fit_stretch(experiment.stretch, train.at_most(LOOKED_AT))
        motion = motion_of(experiment, head, store)
        module = module_of(network, Stretch(stretch), objective, experiment, motion)
        keeper = BestWeights(folder / HISTORY)
        started = time.perf_counter()
        _train(module, store, train, val, keeper, quiet)
        seconds = time.perf_counter() - started
        keeper.restore(module)
        module.finish(chunks(train, IMAGES_AT_ONCE, next(network.parameters()).device))
        ids = {role: one.sample_id for role, one in samples.items() if one is not None}
        save_samples(folder / SAMPLES, ids, store.origin.seed)
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
            network_input=model.way,
            initial_weights=model.weights,
        )
        (folder / RECORD).write_text(record.to_json())
    return record


def finished(experiment: ExperimentRecipe, data: Root, out: Path) -> RunRecord | None:
    """The record of a run folder that already holds this experiment on this data, or None."""
    if not (out / RECORD).is_file():
        return None
    record, digest = read_record(out), open_store(data).stored.digest
    if record.experiment_digest != experiment.digest or record.data.recipe_digest != digest:
        raise RunError(
            f"{out} is experiment {record.experiment_digest[:12]} on data {record.data.recipe_digest[:12]}",
            expected=f"experiment {experiment.digest[:12]} on data {digest[:12]}",
            advice="choose another path, or move the old run away",
        )
    check_same_weights(experiment.model, record.initial_weights, out)
    return record


def shape_of(store: Store, outputs: int) -> Shape:
    """What a network must take and give on this store."""
    channels, _, side = store.plan.array("image").tail
    return Shape(channels, side, outputs)


def _samples(store: Store, role: str, objective: Objective, experiment: ExperimentRecipe) -> Samples | None:
    if not store.plan.rows_of(role):
        return None
    most = experiment.data.max_per_class if role == "train" else None
    return load_samples(store, role, objective.trained_labels, most, experiment.data.mode, device())


def _train(
    module: LensModule, store: Store, train: Samples, val: Samples | None, keeper: "BestWeights", quiet: bool
) -> None:
    options, objective = module.experiment.training, module.objective
    size, seed, motion = options.batch_size, module.experiment.seed, module.target_motion
    train_batches = training_feed(store, train, objective, motion, size, seed, device())
    val_batches = validation_feed(store, val, objective, size, device()) if val is not None else None
    with _without_chatter():
        trainer = _trainer(module, keeper, val is not None, quiet)
        try:
            trainer.fit(module, train_batches, val_batches)
        except SystemExit as error:
            # Lightning ends the program on Ctrl-C; what that means is for the command to say
            raise KeyboardInterrupt from error


def _trainer(module: LensModule, keeper: "BestWeights", validated: bool, quiet: bool) -> lightning.Trainer:
    experiment = module.experiment
    options = experiment.training
    callbacks: list[Callback] = [keeper, NewPhase(module.objective, keeper)]
    if options.patience is not None and validated:
        callbacks.append(EarlyStopping("val_loss", patience=options.patience))
    if not quiet:
        callbacks.append(TQDMProgressBar(refresh_rate=5, leave=False))
    precision = options.precision
    if precision == "auto":
        precision = "bfloat16" if torch.cuda.is_available() else "float32"
    return lightning.Trainer(
        accelerator="auto",
        devices=1,
        precision=PRECISIONS[precision],  # type: ignore[arg-type]
        max_epochs=options.epochs,
        # a module with several optimisers clips by itself
        gradient_clip_val=experiment.optimiser.clip if module.automatic_optimization else None,
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=not quiet,
        num_sanity_val_steps=0,
    )


@contextlib.contextmanager
def _without_chatter() -> Iterator[None]:
    """Lightning without its advertisements, and without two warnings that do not concern us."""
    log = logging.getLogger("lightning.pytorch")
    level = log.level
    log.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            # a store may have no validation split
            warnings.filterwarnings("ignore", message=".*have no `val_dataloader`.*")
            # Lightning 2.6 calls what torch 2.13 renamed
            warnings.filterwarnings("ignore", message=".*isinstance\\(treespec, LeafSpec\\).*")
            yield
    finally:
        log.setLevel(level)


class BestWeights(Callback):
    """Keeps the weights of the epoch with the lowest validation loss, and the history of losses."""

    def __init__(self, history: Path) -> None:
        self.history = history
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
        if not self.weights:
            raise DataError(
                "the validation loss was nan in every epoch",
                expected="a finite loss",
                advice="lower optimiser.learning_rate, and check the store: lensmill verify STORE",
            )
        module.network.load_state_dict(self.weights)


def _data(store: Store, path: Root, train: Samples, val: Samples | None) -> TrainingData:
    channels, height, width = store.plan.array("image").tail
    return TrainingData(
        store=str(path),
        recipe_name=store.origin.name,
        recipe_digest=store.stored.digest,
        seed=store.origin.seed,
        image_shape=(channels, height, width),
        bands=store.origin.band_names,
        pixel_scale_arcsec=store.pixel_scale_arcsec,
        classes=store.plan.classes,
        columns=store.plan.columns,
        train_samples=len(train),
        val_samples=len(val) if val is not None else 0,
    )
