"""How long a prediction takes."""

from schemas.report import Speed
from train.evaluation.measured import Measured


def speeds(measured: Measured) -> tuple[Speed, ...]:  # noqa: ARG001
    """Of one image alone, and of many together."""
    return ()
