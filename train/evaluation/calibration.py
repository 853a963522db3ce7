"""Honest probabilities and intervals: fitted on the validation split, measured on others."""

from schemas.calibration import Reliability
from train.evaluation.measured import Measured


def reliability(measured: Measured) -> Reliability | None:  # noqa: ARG001
    """Whether what the run says of its certainty holds for these samples; None without a calibration."""
    return None
