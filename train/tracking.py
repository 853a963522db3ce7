"""Trainings in MLflow's book, a SQLite file, for those who keep one."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from schemas.errors import FlowError
from schemas.experiment import ExperimentRecipe

if TYPE_CHECKING:
    from lightning.pytorch.loggers import MLFlowLogger


def mlflow_logger(database: Path, experiment: ExperimentRecipe, run_name: str) -> "MLFlowLogger":
    """A logger that writes one run: its recipe as parameters, its history epoch by epoch."""
    if find_spec("mlflow") is None:
        raise FlowError(
            "MLflow is not installed",
            expected="the package of the extra `mlflow`",
            advice="pip install -e '.[mlflow]' in the folder of the repository, or leave --mlflow out",
        )
    from lightning.pytorch.loggers import MLFlowLogger

    database.absolute().parent.mkdir(parents=True, exist_ok=True)
    logger = MLFlowLogger(
        experiment_name="lensmill",
        run_name=run_name,
        tracking_uri=f"sqlite:///{database.absolute()}",
        tags={"experiment": experiment.name, "digest": experiment.digest},
    )
    logger.log_hyperparams(experiment.model_dump(mode="json", exclude={"description"}))
    return logger
