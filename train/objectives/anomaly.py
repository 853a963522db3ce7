"""What is out of the ordinary: images that an autoencoder of ordinary ones cannot reproduce."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from schemas.calibration import Calibration, Thresholds
from schemas.errors import DataError
from schemas.experiment import ExperimentRecipe, ModelOptions
from schemas.imported import ImportedData
from schemas.metrics import AnomalyMetrics, Found, Interval
from schemas.objective import Anomaly, Variational
from schemas.run import AnomalyHead, NetworkInput
from storage.reader import Store
from train.data import Samples, labels_of
from train.models.assembly import Assembled
from train.models.autoencoders import DIVERGENCE, SCORE, SQUARED, build_autoencoder
from train.models.registry import Shape
from train.objectives.calibration import fit_thresholds
from train.objectives.classification import check_names
from train.objectives.registry import OBJECTIVES, Predictions
from train.scores import Ranking, intervals

Array = NDArray[np.float64]
# Shares of ordinary samples that are called anomalous, at which it is told how many anomalies are found.
FALSE_POSITIVES = (0.01, 0.05)


@OBJECTIVES.register("anomaly")
class AnomalyObjective:
    """Trained on some classes; a score for every image: its residual in units of ordinary ones."""

    def __init__(self, head: AnomalyHead, calibration: Calibration | None = None) -> None:
        self.head = head
        self.thresholds = calibration if isinstance(calibration, Thresholds) else None

    @classmethod
    def fit(cls, experiment: ExperimentRecipe, store: Store) -> AnomalyHead:
        asked = experiment.objective
        assert isinstance(asked, Anomaly)
        labels = labels_of(store, experiment.data.classes)
        trained = (
            labels_of(store, asked.trained_on, "objective.trained_on")
            if asked.trained_on
            else _smooth(store, labels)
        )
        outside = [one.name for one in store.plan.classes if one.label in set(trained) - set(labels)]
        if outside:
            raise DataError(
                f"{' and '.join(outside)} is to be trained on but is not among the chosen classes",
                where="objective.trained_on, data.classes",
                advice="add it to data.classes, or leave data.classes out",
            )
        return AnomalyHead(
            classes=tuple(one for one in store.plan.classes if one.label in labels),
            trained_on=tuple(sorted(trained)),
            method=asked.method,
            latent=asked.latent,
        )

    @property
    def outputs(self) -> int:
        return self.head.latent

    @property
    def labels(self) -> tuple[int, ...]:
        return tuple(one.label for one in self.head.classes)

    @property
    def trained_labels(self) -> tuple[int, ...]:
        return self.head.trained_on

    @property
    def trained_names(self) -> tuple[str, ...]:
        """Names of the classes that were trained on."""
        return tuple(one.name for one in self.head.classes if one.label in self.head.trained_on)

    def build(self, model: ModelOptions, shape: Shape) -> Assembled:
        if model.pretrained:
            raise DataError(
                f"there are no trained weights of {model.name!r}",
                expected="model.pretrained: false for anomaly detection",
                where="model",
            )
        way = NetworkInput(method="unchanged", image_side=shape.side, network_side=shape.side)
        return Assembled(self.rebuild(model, shape, way), way, None)

    def rebuild(self, model: ModelOptions, shape: Shape, way: NetworkInput | None) -> nn.Module:
        return build_autoencoder(model.name, shape, isinstance(self.head.method, Variational))

    def phase(self, epoch: int) -> int:
        return 0

    def encode(self, store: Store, samples: Samples) -> Tensor:
        return torch.from_numpy(samples.label)

    def loss(self, output: Tensor, target: Tensor, epoch: int | None = None) -> Tensor:
        return output[:, SQUARED].mean()

    def weight(self, target: Tensor) -> float:
        return len(target)

    def training_loss(self, output: Tensor, target: Tensor, epoch: int) -> Tensor:
        return self.loss(output, target)

    def predictions(self, output: Array) -> Predictions:
        columns: Predictions = {"anomaly_score": output[:, SCORE], "squared_residual": output[:, SQUARED]}
        if isinstance(self.head.method, Variational):
            columns["divergence"] = output[:, DIVERGENCE]
        if self.thresholds is not None:
            for share, threshold in zip(self.thresholds.shares, self.thresholds.scores, strict=True):
                columns[f"above_{round(100 * (1 - share))}"] = output[:, SCORE] > threshold
        return columns

    def calibrate(self, store: Store, samples: Samples, output: Array) -> Thresholds | None:
        return fit_thresholds(output[np.isin(samples.label, self.head.trained_on), SCORE])

    def truth(self, store: Store, samples: Samples) -> Predictions:
        names = {one.label: one.name for one in self.head.classes}
        return {"true": np.array([names[label] for label in samples.label.tolist()])}

    def measure(self, store: Store, samples: Samples, output: Array) -> AnomalyMetrics:
        check_names(self.head.classes, store)
        score, label = output[:, SCORE], samples.label
        ordinary = np.isin(label, self.head.trained_on)
        others = [one for one in self.head.classes if one.label not in self.head.trained_on]
        absent = [one.name for one in self.head.classes if not (label == one.label).any()]
        if absent or not others:
            what = f"the split has no sample of {', '.join(absent)}" if absent else "there is no other class"
            raise DataError(
                what,
                expected="samples of the classes that were trained on and of others",
                where=str(store.root),
            )

        found = {}
        for one in others:
            rows = ordinary | (label == one.label)
            found[one.name] = _told_apart(score[rows], label[rows], ordinary[rows])
        every = _told_apart(score, label, ordinary)
        count = int(ordinary.sum())
        shares = {one.name: int((label == one.label).sum()) for one in others}
        return AnomalyMetrics(
            trained_on=self.trained_names,
            auc={name: one["auc"] for name, one in found.items()},
            auc_all=every["auc"],
            precision={name: one["precision"] for name, one in found.items()},
            precision_all=every["precision"],
            share={name: number / (count + number) for name, number in shares.items()},
            share_all=1 - count / len(label),
            found=tuple(
                Found(class_name=name, false_positives=part, found=one[_at(part)])
                for name, one in [*found.items(), (None, every)]
                for part in FALSE_POSITIVES
            ),
            score={one.name: float(np.median(score[label == one.label])) for one in self.head.classes},
        )

    def headline(self, metrics: AnomalyMetrics) -> str:
        whole = metrics.auc_all
        each = ", ".join(f"{name} {area.value:.4f}" for name, area in metrics.auc.items())
        return (
            f"AUC against {' and '.join(metrics.trained_on)} {whole.value:.4f}"
            f" [{whole.low:.4f}, {whole.high:.4f}] ({each})"
        )


def _at(false_positives: float) -> str:
    return f"found at {false_positives:g}"


def _told_apart(score: Array, label: NDArray[np.int32], ordinary: NDArray[np.bool_]) -> dict[str, Interval]:
    """How well scores tell other samples from ordinary ones."""
    ranking = Ranking(score, ~ordinary)

    def statistics(weights: Array) -> Mapping[str, Array]:
        drawn = ranking.drawn(weights)
        found = {_at(part): drawn.found(part) for part in FALSE_POSITIVES}
        return {"auc": drawn.area, "precision": drawn.precision} | found

    return intervals(statistics, label)


def _smooth(store: Store, labels: tuple[int, ...]) -> tuple[int, ...]:
    """The chosen classes without substructure."""
    if isinstance(store.origin, ImportedData):
        names = [one.name for one in store.plan.classes if one.label in labels]
        raise DataError(
            "nobody here knows which classes of imported images are without substructure",
            expected="the classes to learn what is ordinary from",
            where=f"objective.trained_on; the store {store.root}",
            advice=f"name them, one or more of {', '.join(names)}: --set 'objective.trained_on=[{names[0]}]'",
        )
    found = {one.label for one in store.recipe.classes if one.substructure.kind == "none"} & set(labels)
    if not found:
        raise DataError(
            "no chosen class is without substructure",
            expected="a class to learn what is ordinary from",
            where="objective.trained_on",
            advice="name the classes to train on in objective.trained_on",
        )
    return tuple(found)
