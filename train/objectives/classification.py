"""Which class an image belongs to: cross entropy over the chosen classes."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax
from torch import Tensor
from torch.nn import functional

from schemas.errors import DataError
from schemas.experiment import ExperimentRecipe
from schemas.run import ClassificationMetrics, ClassifierHead
from storage.reader import Store
from train.data import Samples, labels_of
from train.objectives.registry import OBJECTIVES, Predictions
from train.scores import auc, bootstrap


@OBJECTIVES.register("classification")
class ClassificationObjective:
    """Two classes or more, one output each."""

    def __init__(self, head: ClassifierHead) -> None:
        self.head = head

    @classmethod
    def fit(cls, experiment: ExperimentRecipe, store: Store) -> ClassifierHead:
        labels = labels_of(store, experiment.data.classes)
        if len(labels) < 2:
            raise DataError(
                f"{len(labels)} class to tell apart",
                expected="two classes or more",
                where="data.classes",
                advice=f"the store has {', '.join(one.name for one in store.plan.classes)}",
            )
        classes = tuple(one for one in store.plan.classes if one.label in labels)
        found = np.asarray(store.read(store.plan.splits[0].name, "label"))
        counts = [int((found == one.label).sum()) for one in classes]
        return ClassifierHead(classes=classes, most_frequent=int(np.argmax(counts)))

    @property
    def outputs(self) -> int:
        return len(self.head.classes)

    @property
    def labels(self) -> tuple[int, ...]:
        return tuple(one.label for one in self.head.classes)

    @property
    def names(self) -> list[str]:
        """Class names in the order of the outputs."""
        return [one.name for one in self.head.classes]

    def positions(self, label: NDArray[np.int32]) -> NDArray[np.int64]:
        """The output that belongs to each label."""
        return np.argmax(np.array(self.labels)[None, :] == label[:, None], axis=1)

    def encode(self, store: Store, samples: Samples) -> Tensor:
        return torch.from_numpy(self.positions(samples.label))

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return functional.cross_entropy(output, target)

    def predictions(self, output: NDArray[np.float64]) -> Predictions:
        probability = softmax(output, axis=1)
        columns: Predictions = {f"probability_{name}": probability[:, k] for k, name in enumerate(self.names)}
        return columns | {"predicted": np.array(self.names)[probability.argmax(axis=1)]}

    def truth(self, store: Store, samples: Samples) -> Predictions:
        return {"true": np.array(self.names)[self.positions(samples.label)]}

    def measure(self, store: Store, samples: Samples, output: NDArray[np.float64]) -> ClassificationMetrics:
        probability = softmax(output, axis=1)
        true = self.positions(samples.label)
        _check_names(self.head, store)
        absent = [name for k, name in enumerate(self.names) if not (true == k).any()]
        if absent:
            raise DataError(
                f"the split has no sample of {', '.join(absent)}",
                expected="samples of every class that the model tells apart",
                where=str(store.root),
            )
        right = probability.argmax(axis=1) == true
        one_hot = np.arange(self.outputs)[None, :] == true[:, None]

        def macro(rows: NDArray[np.int64]) -> float:
            each = [auc(probability[rows, k], one_hot[rows, k]) for k in range(self.outputs)]
            return float(np.mean(each))

        confusion = np.zeros((self.outputs, self.outputs), dtype=np.int64)
        np.add.at(confusion, (true, probability.argmax(axis=1)), 1)
        return ClassificationMetrics(
            accuracy=bootstrap(lambda rows: float(right[rows].mean()), len(true)),
            auc_macro=bootstrap(macro, len(true)),
            auc_micro=auc(probability.ravel(), one_hot.ravel()),
            auc={name: auc(probability[:, k], one_hot[:, k]) for k, name in enumerate(self.names)},
            confusion=tuple(tuple(int(count) for count in row) for row in confusion),
            constant_accuracy=float((true == self.head.most_frequent).mean()),
        )

    def headline(self, metrics: ClassificationMetrics) -> str:
        area, right = metrics.auc_macro, metrics.accuracy
        return (
            f"macro AUC {area.value:.4f} [{area.low:.4f}, {area.high:.4f}],"
            f" accuracy {right.value:.3f} (constant {metrics.constant_accuracy:.3f})"
        )


def _check_names(head: ClassifierHead, store: Store) -> None:
    """A label of one's own may mean another class in another store."""
    here = {one.label: one.name for one in store.plan.classes}
    for one in head.classes:
        if here.get(one.label, one.name) != one.name:
            raise DataError(
                f"label {one.label} is {here[one.label]!r} in the store",
                expected=f"{one.name!r}, as in the training data",
                where=str(store.root),
            )
