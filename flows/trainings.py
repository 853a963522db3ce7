"""What a Dask worker with a GPU runs for an experiment that is placed there. Nothing here loads Prefect."""

from collections.abc import Callable

from distributed import get_worker

from schemas.report import Report
from schemas.run import RunRecord
from storage.files.place import local, place


def fit_there(experiment: str, data: str, out: str) -> RunRecord:
    """Train an experiment, told as JSON; a run folder that already holds it is kept."""
    from schemas.experiment import ExperimentRecipe
    from train.fit import finished, fit

    recipe = ExperimentRecipe.model_validate_json(experiment)
    return finished(recipe, place(data), local(out)) or fit(
        recipe, place(data), local(out), quiet=True, wanted=demand()
    )


def evaluate_there(run: str, data: str, split: str) -> Report:
    """Measure a run on a split."""
    from train.evaluate import evaluate

    return evaluate(local(run), place(data), split)


def demand() -> Callable[[], bool]:
    """Tells whether the scheduler still wants what this thread of a worker does.

    It does not when the flow that asked was ended, nor when it died. Dask lets the thread go on all the same.
    """
    worker = get_worker()
    key = worker.get_current_task()

    def wanted() -> bool:
        task = worker.state.tasks.get(key)
        return task is not None and task.state == "executing"

    return wanted
