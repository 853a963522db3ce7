"""A trained model as an object: images in, named columns out. Needs no store and no Lightning."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike

from schemas.errors import DataError
from schemas.run import FittedLog, FittedStretch
from storage.files.place import local
from train.images import Pixels
from train.objectives.registry import Predictions
from train.predict import outputs
from train.records.run_folder import Run, load_run


@dataclass(frozen=True)
class Model:
    """A run or an exported folder, its weights checked and loaded."""

    run: Run = field(repr=False)
    name: str
    classes: tuple[str, ...]
    image_shape: tuple[int, int, int]
    bands: tuple[str, ...]
    pixel_scale_arcsec: float | None

    def predict(self, images: ArrayLike) -> Predictions:
        """Columns by their names, such as `predicted`, one value for each image.

        Images are (n, y, x) or (n, channels, y, x), in the unit of the training data, and without NaN.
        """
        output, _ = outputs(self.run, self._pixels(images), "images")
        return self.run.objective.predictions(output)

    def _pixels(self, images: ArrayLike) -> Pixels:
        values = np.asarray(images)
        if values.ndim == 3:
            values = values[:, None]
        if values.ndim != 4 or not len(values) or values.dtype.kind not in "fiu":
            raise DataError(
                f"images are {values.dtype} of shape {np.shape(images)}",
                expected="real numbers of shape (n, y, x) or (n, channels, y, x), one image or more",
            )
        return np.require(values, np.float32, ["C", "W"])


def load_model(path: str | Path) -> Model:
    """A model from the folder of a run, or from one that `lensmill export` made."""
    run = load_run(local(path))
    data = run.record.data
    return Model(
        run=run,
        name=run.record.experiment.name,
        classes=tuple(one.name for one in getattr(run.record.head, "classes", ())),
        image_shape=data.image_shape,
        bands=data.bands,
        pixel_scale_arcsec=data.pixel_scale_arcsec,
    )


def sample_images(run: Run, count: int, seed: int = 0) -> Pixels:
    """Random images that look to the network like those it was trained on: the stretch turned round."""
    numbers = np.random.default_rng(seed).normal(size=(count, *run.record.data.image_shape))
    fitted = run.record.stretch
    stretched = numbers * fitted.spread + fitted.mean
    if not isinstance(fitted, FittedStretch):
        return stretched.astype(np.float32)
    if isinstance(fitted, FittedLog):
        return (np.sign(stretched) * np.expm1(np.abs(stretched)) * fitted.softening).astype(np.float32)
    return (np.sinh(stretched) * fitted.softening).astype(np.float32)


def as_tensor(images: Pixels) -> torch.Tensor:
    """For a network on the CPU."""
    return torch.from_numpy(np.require(images, np.float32, ["C", "W"]))
