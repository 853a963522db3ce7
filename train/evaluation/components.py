"""Images as a few numbers: their principal components, and what these leave over."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from storage.audit.components import COMPONENTS, Components, Images, principal_components
from train.data import Samples, chunks
from train.images import Pixels
from train.records.run_folder import Run
from train.stretch import Stretch

Array = NDArray[np.float64]
# Images that the components are found from: some thousands, of large ones as many as this memory holds.
LOOKED_AT = 4000
BYTES = 128 * 2**20
AT_ONCE = 256
# Of power that is left over: the logarithm of nothing.
NOTHING = 1e-30


def find_components(run: Run, samples: Samples) -> Components:
    """Of the training images as the network sees them; a random part of many."""
    pixels = int(np.prod(samples.shape[1:]))
    most = min(len(samples), LOOKED_AT, max(BYTES // (4 * pixels), 4 * COMPONENTS))
    rng = np.random.default_rng(run.record.experiment.seed)
    places = np.sort(rng.choice(len(samples), most, replace=False))
    images = np.empty((most, pixels), np.float32)
    at = 0
    for some in _flat(run, samples.take(places)):
        images[at : at + len(some)] = some
        at += len(some)
    return principal_components(images)


def features(run: Run, samples: Samples, components: Components) -> Array:
    """For each sample how much of each component is in it, and the logarithm of the power of the rest."""
    count = len(components.directions)
    found = np.empty((len(samples), count + 1))
    at = 0
    for some in _flat(run, samples):
        rows = slice(at, at + len(some))
        found[rows, :count] = components.scores(some)
        found[rows, count] = np.log(components.left_over(some) + NOTHING)
        at += len(some)
    return found


def _flat(run: Run, images: Pixels | Samples) -> Iterator[Images]:
    """Stretched images, a row each, a chunk at a time."""
    stretch = Stretch(run.record.stretch)
    with torch.inference_mode():
        for some in chunks(images, AT_ONCE):
            yield stretch(some).flatten(1).numpy()
