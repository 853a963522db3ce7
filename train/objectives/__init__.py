"""Training goals: what outputs mean, which loss they get, how they are scored."""

from train.objectives import anomaly, classification, regression
from train.objectives.registry import OBJECTIVES, Objective, fit_head, objective_of

__all__ = ["OBJECTIVES", "Objective", "anomaly", "classification", "fit_head", "objective_of", "regression"]
