"""The training flow: a store and an experiment in, a run folder out. Runs in the process that has the GPU."""

import sys
from pathlib import Path

from prefect import flow

from flows.assess import artifact_key
from flows.catalogue import AnyExperiment, load_experiment
from flows.experiments import store_path
from flows.extras import need_training
from flows.forms import ExperimentForm, OverridesForm, RunForm, StoreForm
from flows.serving.closing import label_run
from flows.telling import journal
from flows.telling.epochs import EpochLines
from flows.telling.events import watched
from flows.telling.run_log import in_a_run, show_table
from flows.unattended import persevering, told
from schemas.run import RunRecord
from storage.files.place import Root, local, place


def fit_experiment(
    experiment: AnyExperiment,
    data: str | Root | None,
    out: str | Path,
    overrides: list[str] | None = None,
    quiet: bool = False,
    mlflow: Path | None = None,
) -> RunRecord:
    """Train an experiment on a store; `data` goes before the store that the recipe names."""
    need_training()
    from train.fit import fit

    recipe = load_experiment(experiment, overrides or [])
    lines = EpochLines(recipe.name) if in_a_run() or (not quiet and _is_read_later()) else None
    return fit(recipe, store_path(recipe, data), local(out), quiet or journal.wanted(), mlflow, tell=lines)


def _is_read_later() -> bool:
    """Whether nobody can look at a bar: what is said goes into a file, or to a reader of objects."""
    return journal.wanted() or not sys.stderr.isatty()


@watched
@flow(name="train", validate_parameters=True)
@told
@persevering
def train_flow(
    experiment: ExperimentForm,
    data: StoreForm,
    out: RunForm,
    overrides: OverridesForm = None,
    quiet: bool = True,
) -> RunRecord:
    """Train one experiment; a run folder that already holds it is kept.

    Args:
        experiment: What to train: a shipped experiment (`lensmill recipes` lists them), the path of a YAML
            file, or the whole recipe.
        data: The store to train on, a folder or an `s3://` URL.
        out: Where the run folder is to be. A training that was killed goes on from its last checkpoint.
        overrides: Changes of the experiment, each as `key=value`, such as `training.epochs=20`.
        quiet: No progress bar in the log.
    """
    need_training()
    from train.fit import finished

    label_run()
    recipe = load_experiment(experiment, overrides or [])
    record = finished(recipe, place(data), local(out)) or fit_experiment(
        experiment, data, out, overrides, quiet
    )
    show_training(record, out)
    return record


def show_training(record: RunRecord, out: str) -> None:
    """What came of a training as a table in Prefect's page."""
    rows = [
        {"what": "model", "value": record.experiment.model.name},
        {"what": "parameters", "value": f"{record.parameters:,}"},
        {"what": "training samples", "value": f"{record.data.train_samples:,}"},
        {"what": "best epoch", "value": f"{record.best_epoch} of {record.epochs}"},
        {"what": "validation loss", "value": "none" if record.val_loss is None else f"{record.val_loss:.4f}"},
        {"what": "seconds", "value": f"{record.train_seconds:.1f}"},
        {"what": "run folder", "value": out},
    ]
    show_table(f"training-{artifact_key(record.experiment.name)}", rows, record.experiment.description)
