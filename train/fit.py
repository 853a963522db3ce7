"""From an experiment recipe and a store to a run folder."""

import contextlib
import logging
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, TQDMProgressBar
from lightning.pytorch.loggers import Logger

from schemas.calibration import Calibration
from schemas.errors import DataError, RunError
from schemas.experiment import ExperimentRecipe
from schemas.run import AnyFittedStretch, Head, RunIdentity, RunRecord, TrainingData
from storage.files.place import Root, local, place
from storage.reader import Store, open_store
from train.autoencoding import AdversarialModule, module_of
from train.averaging import Averaging
from train.compilation import compile_network
from train.data import Samples, chunks, load_samples, shuffling_seed
from train.demand import Demand
from train.feeding import training_feed, validation_feed
from train.models.assembly import Assembled
from train.models.registry import Shape
from train.models.weights import check_same_weights
from train.module import LensModule
from train.objectives import Objective, fit_head, objective_of
from train.phases import NewPhase
from train.processes import Ranks, check_devices, leave, other_processes, strategy_of
from train.records.checkpoints import CheckpointFolder, Checkpoints
from train.records.history import History, Tell
from train.records.keeper import BestWeights
from train.records.run_folder import (
    RECORD,
    SAMPLES,
    WEIGHTS,
    device,
    device_name,
    read_record,
    save_samples,
    save_weights,
    versions,
)
from train.records.tracking import check_book, open_book
from train.records.unfinished import CHECKPOINTS, unfinished_folder
from train.records.used_samples import contents_of, roles_of
from train.stretch import LOOKED_AT, Stretch, fit_stretch
from train.target_motion import motion_of

# Images that are looked at together after training.
IMAGES_AT_ONCE = 256
PRECISIONS = {"float32": "32-true", "bfloat16": "bf16-mixed"}


def fit(
    experiment: ExperimentRecipe,
    data: str | Root,
    out: str | Path,
    quiet: bool = False,
    mlflow: Path | None = None,
    wanted: Callable[[], bool] | None = None,
    tell: Tell | None = None,
) -> RunRecord:
    """Train a model on the `train` split of a store and keep the epoch with the best validation loss.

    Goes on with a run of the same experiment that was killed. A progress bar is shown on a terminal unless
    `quiet`. `mlflow` is the file that MLflow keeps its SQLite database in. `wanted` is asked between batches,
    and the training is ended when it says no. `tell` is told how far it is.
    """
    quiet, out = quiet or not sys.stderr.isatty(), local(out)
    check_devices(experiment.training.devices)
    if mlflow is not None:
        check_book(mlflow)
    store = open_store(data)
    begun = _begin(experiment, store)
    with unfinished_folder(out, _identity(experiment, store, begun.model)) as folder:
        ready = _get_ready(begun, store)
        module, (train, val) = ready.module, ready.samples
        logger = None if mlflow is None else open_book(mlflow, experiment, out.name)
        with other_processes(experiment, str(data), folder) as ranks:
            done = _train(ready, store, folder, ranks, quiet, logger, wanted, tell)
        keeper = done.keeper
        keeper.restore(module)
        module.finish(chunks(train, IMAGES_AT_ONCE, _place_of(module)))
        save_samples(
            folder / SAMPLES, roles_of(train, val), store.origin.seed, contents_of(store, train, val)
        )
        network = module.network
        record = RunRecord(
            experiment=experiment,
            experiment_digest=experiment.digest,
            data=_data(store, train, val),
            head=begun.head,
            stretch=ready.stretch,
            parameters=sum(one.numel() for one in network.parameters() if one.requires_grad),
            epochs=keeper.epochs,
            best_epoch=keeper.best_epoch,
            val_loss=keeper.best_loss if val is not None else None,
            train_seconds=done.history.seconds,
            device=device_name(),
            versions=versions(),
            weights_sha256=save_weights(network, folder / WEIGHTS),
            network_input=begun.model.way,
            initial_weights=begun.model.weights,
            images_at_once=module.portions[0].most,
            compiled=done.compiled,
            calibration=None if val is None else _calibration(module, store, val),
            mlflow_run=None if logger is None else logger.run_id,
        )
        (folder / RECORD).write_text(record.to_json())
    return record


def _calibration(module: LensModule, store: Store, val: Samples) -> Calibration | None:
    """What makes the outputs of the finished network honest, of the validation samples."""
    network = module.eval().network
    size = min(IMAGES_AT_ONCE, module.portions[1].most or IMAGES_AT_ONCE)
    with torch.inference_mode():
        # not as training has translated it, but as it will predict
        output = [
            network.forward(module.stretch(some)).float().cpu().numpy()
            for some in chunks(val, size, _place_of(module))
        ]
    return module.objective.calibrate(store, val, np.concatenate(output).astype(np.float64))


def _place_of(module: LensModule) -> torch.device:
    return next(module.network.parameters()).device


def take_part(
    experiment: ExperimentRecipe, data: str, folder: Path, ranks: Ranks, say_ready: Callable[[], None]
) -> None:
    """What each process but the first does in a training of several: the same, writing nothing."""
    if torch.cuda.is_available():
        torch.cuda.set_device(ranks.rank)
    store = open_store(place(data))
    ready = _get_ready(_begin(experiment, store), store)
    say_ready()
    _train(ready, store, folder, ranks, quiet=True)
    leave()


@dataclass(frozen=True)
class Begun:
    """An experiment with its meaning on a store and its network."""

    experiment: ExperimentRecipe
    head: Head
    objective: Objective
    model: Assembled


@dataclass(frozen=True)
class Ready:
    """What is to be trained, and on what."""

    module: LensModule
    stretch: AnyFittedStretch
    samples: tuple[Samples, Samples | None]


@dataclass(frozen=True)
class Done:
    """What a training leaves beside the weights."""

    keeper: BestWeights
    history: History
    compiled: bool


def _begin(experiment: ExperimentRecipe, store: Store) -> Begun:
    head = fit_head(experiment, store)
    objective = objective_of(head)
    lightning.seed_everything(experiment.seed, verbose=False)
    model = objective.build(experiment.model, shape_of(store, objective.outputs))
    return Begun(experiment, head, objective, model)


def _identity(experiment: ExperimentRecipe, store: Store, model: Assembled) -> RunIdentity:
    return RunIdentity(
        experiment_digest=experiment.digest,
        data_digest=store.stored.digest,
        weights_sha256=None if model.weights is None else model.weights.sha256,
    )


def _get_ready(begun: Begun, store: Store) -> Ready:
    experiment, objective = begun.experiment, begun.objective
    train, val = (_samples(store, role, objective, experiment) for role in ("train", "val"))
    if train is None:
        raise DataError("the store has no train split", where=str(store.root))
    stretch = fit_stretch(experiment.stretch, train.at_most(LOOKED_AT))
    motion = motion_of(experiment, begun.head, store)
    module = module_of(begun.model.network, Stretch(stretch), objective, experiment, motion)
    return Ready(module, stretch, (train, val))


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
    return load_samples(
        store,
        role,
        objective.trained_labels,
        most,
        experiment.data.mode,
        device(),
        shuffling_seed(experiment),
    )


def _train(
    ready: Ready,
    store: Store,
    folder: Path,
    ranks: Ranks,
    quiet: bool,
    logger: Logger | None = None,
    wanted: Callable[[], bool] | None = None,
    tell: Tell | None = None,
) -> Done:
    module, (train, val) = ready.module, ready.samples
    options, objective = module.experiment.training, module.objective
    size, seed, motion = options.batch_size, module.experiment.seed, module.target_motion
    train_batches = training_feed(store, train, objective, motion, size, seed, device())
    train_batches.of_rank(ranks.rank, ranks.world)
    val_batches = None
    if val is not None:
        val_batches = validation_feed(store, val, objective, size, device())
        val_batches.of_rank(ranks.rank, ranks.world)
    module.set_apart(ranks.rank, ranks.world)
    averaging = Averaging(module.network, options.average) if options.average is not None else None
    compiled = options.compile and compile_network(module.network, device())
    keeper, history = BestWeights(averaging), History(folder if ranks.first else None, tell)
    checkpoints = Checkpoints(
        CheckpointFolder(folder / CHECKPOINTS), train_batches, ranks.first, options.checkpoint_minutes
    )
    callbacks: list[Callback | None] = [averaging, keeper, history, NewPhase(objective, keeper)]
    if options.patience is not None and val is not None:
        # after validation, so that the checkpoint of an epoch's end knows of it
        callbacks.append(EarlyStopping("val_loss", patience=options.patience, check_on_train_epoch_end=False))
    if wanted is not None:
        callbacks.append(Demand(wanted))
    with _without_chatter():
        trainer = _trainer(module, [*callbacks, checkpoints], ranks, quiet, logger)
        try:
            trainer.fit(module, train_batches, val_batches)
        except SystemExit as error:
            # Lightning ends the program on Ctrl-C; what that means is for the command to say
            raise KeyboardInterrupt from error
    return Done(keeper, history, compiled)


def _trainer(
    module: LensModule,
    callbacks: Sequence[Callback | None],
    ranks: Ranks,
    quiet: bool,
    logger: Logger | None,
) -> lightning.Trainer:
    options = module.experiment.training
    used = [one for one in callbacks if one is not None]
    if not quiet:
        used.append(TQDMProgressBar(refresh_rate=5, leave=False))
    precision = options.precision
    if precision == "auto":
        precision = "bfloat16" if torch.cuda.is_available() else "float32"
    return lightning.Trainer(
        accelerator="auto",
        devices=ranks.world,
        strategy=strategy_of(ranks, isinstance(module, AdversarialModule)),
        precision=PRECISIONS[precision],  # type: ignore[arg-type]
        max_epochs=options.epochs,
        callbacks=used,
        logger=logger or False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=not quiet,
        num_sanity_val_steps=0,
        # each process has its part of every batch already
        use_distributed_sampler=False,
    )


@contextlib.contextmanager
def _without_chatter() -> Iterator[None]:
    """Lightning without its advertisements, and without two warnings that do not concern us."""
    logs = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            # a store may have no validation split
            warnings.filterwarnings("ignore", message=".*have no `val_dataloader`.*")
            # the history tells loggers, once an epoch
            warnings.filterwarnings("ignore", message=".*smaller than the logging interval.*")
            # Lightning 2.6 calls what torch 2.13 renamed
            warnings.filterwarnings("ignore", message=".*isinstance\\(treespec, LeafSpec\\).*")
            yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)


def _data(store: Store, train: Samples, val: Samples | None) -> TrainingData:
    channels, height, width = store.plan.array("image").tail
    return TrainingData(
        store=str(store.root),
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
