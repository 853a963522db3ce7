"""Which class an image belongs to: cross entropy over the chosen classes, or one class against the rest."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax
from torch import Tensor, nn
from torch.nn import functional

from schemas.calibration import Calibration, Temperature
from schemas.errors import DataError
from schemas.experiment import ExperimentRecipe, ModelOptions
from schemas.imported import ImportedData
from schemas.metrics import ClassificationMetrics
from schemas.objective import Classification, CrossEntropyThenBCE
from schemas.registry import unknown_name
from schemas.run import ClassifierHead, NetworkInput
from schemas.store import ClassSpec
from storage.reader import Store
from train.data import Samples, labels_of
from train.models.assembly import Assembled, assemble, rebuild
from train.models.registry import Shape
from train.objectives.calibration import fit_temperature
from train.objectives.registry import OBJECTIVES, Predictions
from train.scores import Ranking, Statistics, intervals, mean_of

Array = NDArray[np.float64]


@OBJECTIVES.register("classification")
class ClassificationObjective:
    """Two classes or more, one output each."""

    def __init__(self, head: ClassifierHead, calibration: Calibration | None = None) -> None:
        self.head = head
        self.temperature = calibration.temperature if isinstance(calibration, Temperature) else 1.0
        self.weights = None if head.weights is None else torch.tensor(head.weights)

    @classmethod
    def fit(cls, experiment: ExperimentRecipe, store: Store) -> ClassifierHead:
        assert isinstance(experiment.objective, Classification)
        labels = labels_of(store, experiment.data.classes)
        if len(labels) < 2:
            raise DataError(
                f"{len(labels)} class to tell apart",
                expected="two classes or more",
                where=f"data.classes; the store {store.root}",
                advice=_more_classes(store),
            )
        classes = tuple(one for one in store.plan.classes if one.label in labels)
        found = np.asarray(store.read(store.plan.splits[0].name, "label"))
        counts = [int((found == one.label).sum()) for one in classes]
        return ClassifierHead(
            classes=classes,
            most_frequent=int(np.argmax(counts)),
            loss=experiment.objective.loss,
            weights=_weights(experiment, classes, counts),
        )

    @property
    def outputs(self) -> int:
        return len(self.head.classes)

    @property
    def labels(self) -> tuple[int, ...]:
        return tuple(one.label for one in self.head.classes)

    @property
    def trained_labels(self) -> tuple[int, ...]:
        return self.labels

    def build(self, model: ModelOptions, shape: Shape) -> Assembled:
        return assemble(model, shape)

    def rebuild(self, model: ModelOptions, shape: Shape, way: NetworkInput | None) -> nn.Module:
        return rebuild(model.name, shape, way)

    def phase(self, epoch: int) -> int:
        loss = self.head.loss
        return int(isinstance(loss, CrossEntropyThenBCE) and epoch >= loss.after_epochs)

    @property
    def names(self) -> list[str]:
        """Class names in the order of the outputs."""
        return [one.name for one in self.head.classes]

    def positions(self, label: NDArray[np.int32]) -> NDArray[np.int64]:
        """The output that belongs to each label."""
        return np.argmax(np.array(self.labels)[None, :] == label[:, None], axis=1)

    def encode(self, store: Store, samples: Samples) -> Tensor:
        return torch.from_numpy(self.positions(samples.label))

    def loss(self, output: Tensor, target: Tensor, epoch: int | None = None) -> Tensor:
        weights = None if self.weights is None else self.weights.to(output)
        loss = self.head.loss
        if isinstance(loss, CrossEntropyThenBCE) and (epoch is None or self.phase(epoch)):
            return _one_against_rest(output, target, loss.smoothing, weights)
        return functional.cross_entropy(output, target, weight=weights)

    def weight(self, target: Tensor) -> Tensor | float:
        return len(target) if self.weights is None else self.weights.to(target.device)[target].sum()

    def training_loss(self, output: Tensor, target: Tensor, epoch: int) -> Tensor:
        return self.loss(output, target, epoch)

    def probabilities(self, output: Array) -> Array:
        """Of each class for each sample, calibrated."""
        return np.asarray(softmax(output / self.temperature, axis=1))

    def predictions(self, output: Array) -> Predictions:
        probability = self.probabilities(output)
        columns: Predictions = {f"probability_{name}": probability[:, k] for k, name in enumerate(self.names)}
        return columns | {"predicted": np.array(self.names)[probability.argmax(axis=1)]}

    def truth(self, store: Store, samples: Samples) -> Predictions:
        return {"true": np.array(self.names)[self.positions(samples.label)]}

    def measure(self, store: Store, samples: Samples, output: Array) -> ClassificationMetrics:
        probability, true = self.probabilities(output), self.positions(samples.label)
        check_names(self.head.classes, store)
        absent = [name for k, name in enumerate(self.names) if not (true == k).any()]
        if absent:
            raise DataError(
                f"the split has no sample of {', '.join(absent)}",
                expected="samples of every class that the model tells apart",
                where=str(store.root),
            )
        found = intervals(_statistics(self.names, probability, true), true)
        confusion = np.zeros((self.outputs, self.outputs), dtype=np.int64)
        np.add.at(confusion, (true, probability.argmax(axis=1)), 1)
        return ClassificationMetrics(
            accuracy=found["accuracy"],
            auc_macro=found["auc macro"],
            auc_micro=found["auc micro"],
            auc={name: found[f"auc of {name}"] for name in self.names},
            precision_macro=found["precision macro"],
            precision_micro=found["precision micro"],
            precision={name: found[f"precision of {name}"] for name in self.names},
            share={name: float((true == k).mean()) for k, name in enumerate(self.names)},
            confusion=tuple(tuple(int(count) for count in row) for row in confusion),
            constant_accuracy=float((true == self.head.most_frequent).mean()),
        )

    def calibrate(self, store: Store, samples: Samples, output: Array) -> Temperature | None:
        return fit_temperature(output, self.positions(samples.label))

    def headline(self, metrics: ClassificationMetrics) -> str:
        area, right = metrics.auc_macro, metrics.accuracy
        return (
            f"macro AUC {area.value:.4f} [{area.low:.4f}, {area.high:.4f}],"
            f" accuracy {right.value:.3f} (constant {metrics.constant_accuracy:.3f})"
        )


def _statistics(names: list[str], probability: Array, true: NDArray[np.int64]) -> Statistics:
    """Accuracy, and the areas under both curves by class, of all cases, and their mean over classes."""
    positive = np.arange(len(names))[None, :] == true[:, None]
    right = (probability.argmax(axis=1) == true).astype(np.float64)
    each = [Ranking(probability[:, k], positive[:, k]) for k in range(len(names))]
    samples = np.repeat(np.arange(len(true)), len(names))
    together = Ranking(probability.ravel(), positive.ravel(), samples)

    def statistics(weights: Array) -> Mapping[str, Array]:
        found = {"accuracy": mean_of(weights, right)}
        drawn = [one.drawn(weights) for one in each]
        for what, values in (
            ("auc", [one.area for one in drawn]),
            ("precision", [one.precision for one in drawn]),
        ):
            found |= {f"{what} of {name}": value for name, value in zip(names, values, strict=True)}
            found[f"{what} macro"] = np.mean(values, axis=0)
        cases = together.drawn(weights)
        return found | {"auc micro": cases.area, "precision micro": cases.precision}

    return statistics


def _more_classes(store: Store) -> str:
    """How to come by two classes."""
    names = ", ".join(one.name for one in store.plan.classes)
    if len(store.plan.classes) > 1:
        return f"choose two or more: --set 'data.classes=[{names}]'"
    if isinstance(store.origin, ImportedData):
        return (
            f"all images are of one class, {names}: import them again with labels"
            " (--labels, or a folder for each class)"
        )
    return f"all images are of one class, {names}: simulate a recipe with two or more"


def _one_against_rest(output: Tensor, target: Tensor, smoothing: float, weights: Tensor | None) -> Tensor:
    """Binary cross entropy of each class, averaged as weighted cross entropy is: over the weights."""
    classes = output.shape[1]
    soft = functional.one_hot(target, classes).to(output) * (1 - smoothing) + smoothing / classes
    each = functional.binary_cross_entropy_with_logits(output, soft, reduction="none").mean(dim=1)
    if weights is None:
        return each.mean()
    counted = weights[target]
    return (each * counted).sum() / counted.sum()


def _weights(
    experiment: ExperimentRecipe, classes: tuple[ClassSpec, ...], counts: list[int]
) -> tuple[float, ...] | None:
    """What a sample of each class counts, in the order of the outputs."""
    assert isinstance(experiment.objective, Classification)
    asked = experiment.objective.class_weights
    if asked is None:
        return None
    if asked == "balanced":
        most = experiment.data.max_per_class or max(counts)
        used = [max(min(count, most), 1) for count in counts]
        return tuple(sum(used) / (len(used) * count) for count in used)
    names = [one.name for one in classes]
    for name in asked:
        if name not in names:
            raise unknown_name("class in objective.class_weights", name, names)
    return tuple(float(asked.get(name, 1.0)) for name in names)


def check_names(classes: tuple[ClassSpec, ...], store: Store) -> None:
    """A label of one's own may mean another class in another store."""
    here = {one.label: one.name for one in store.plan.classes}
    for one in classes:
        if here.get(one.label, one.name) != one.name:
            raise DataError(
                f"label {one.label} is {here[one.label]!r} in the store",
                expected=f"{one.name!r}, as in the training data",
                where=str(store.root),
            )
