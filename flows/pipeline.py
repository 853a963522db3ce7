"""Recipe -> shards -> models -> reports, as one flow."""

from pathlib import Path

from prefect import flow

from flows.auditing import audit_task
from flows.experiments import DEFAULT_EXPERIMENTS, DEFAULT_RECIPE, check_experiments, data_path
from flows.forms import (
    ClusterForm,
    ExperimentForms,
    FolderForm,
    OverridesForm,
    PlacementForm,
    RecipeForm,
    ShardSizeForm,
    WorkersForm,
)
from flows.generate import simulate_flow
from flows.placing import measured, page_of, trained
from flows.summary import PipelineSummary
from flows.telling.events import watched
from flows.unattended import told
from storage.files.place import local


@watched
@flow(name="simulate-and-train", validate_parameters=True)
@told
def pipeline_flow(
    recipe: RecipeForm = DEFAULT_RECIPE,
    experiments: ExperimentForms = list(DEFAULT_EXPERIMENTS),  # noqa: B006 - prefect shows it as the default
    out: FolderForm = "runs/pipeline",
    workers: WorkersForm = None,
    shard_size: ShardSizeForm = None,
    overrides: OverridesForm = None,
    quiet: bool = True,
    audit: bool = False,
    cluster: ClusterForm = None,
    placement: PlacementForm = None,
) -> PipelineSummary:
    """Simulate, audit if asked, train, evaluate; the parts are flows of their own.

    Args:
        recipe: What to simulate: a shipped recipe (`lensmill recipes` tells what each makes), the path of a
            YAML file, or the whole recipe.
        experiments: What to train on it, one after the other: shipped experiments, paths of YAML files, or
            whole recipes.
        out: Folder of everything: the store, and `runs/EXPERIMENT`. What is there and whole is kept.
        workers: Worker processes on this machine; one per core when left out. Unused with a `cluster`.
        shard_size: Images per shard, a power of two; 64 MiB of images when left out.
        overrides: Changes of the data's recipe, each as `key=value`, such as `samples_per_class=2000`.
        quiet: No progress bars in the log.
        audit: Stop before training if the data give the labels away.
        cluster: Where shards are made; on the machine of the flow when left out.
        placement: Where models are trained and measured, whatever the experiments say: in the flow's process,
            on another work pool, or on a Dask worker with a GPU. As each experiment says when left out.
    """
    loaded = check_experiments(experiments, placement)
    store = str(data_path(local(out), recipe))
    data = simulate_flow(recipe, store, workers, shard_size, overrides, quiet, cluster=cluster)
    if audit:
        audit_task(store, out=str(Path(out) / "audit"))
    reports, pages = [], []
    for experiment, one in zip(experiments, loaded, strict=True):
        folder = str(Path(out) / "runs" / one.name)
        where = placement or one.placement
        trained(where, experiment, store, folder, quiet)
        reports.append(measured(where, folder, store))
        pages.append(page_of(folder, store))
    return PipelineSummary(data=data, reports=tuple(reports), pages=tuple(pages))
