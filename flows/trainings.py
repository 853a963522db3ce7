"""What a Dask worker with a GPU runs for an experiment that is placed there. Nothing here loads Prefect."""

from schemas.report import Report
from schemas.run import RunRecord
from storage.place import local, place


def fit_there(experiment: str, data: str, out: str) -> RunRecord:
    """Train an experiment, told as JSON; a run folder that already holds it is kept."""
    from schemas.experiment import ExperimentRecipe
    from train.fit import finished, fit

    recipe = ExperimentRecipe.model_validate_json(experiment)
    return finished(recipe, place(data), local(out)) or fit(recipe, place(data), local(out), quiet=True)


def evaluate_there(run: str, data: str, split: str) -> Report:
    """Measure a run on a split."""
    from train.evaluate import evaluate

    return evaluate(local(run), place(data), split)
