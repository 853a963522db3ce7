"""Which samples a run used, and whether others are among them.

Where lensmill simulated the images, seed and index say which sample is which, whatever a store is called. The
number of an imported sample is its place in a source, another one in each source. So a run on imported images
also keeps a fingerprint of each image, by which the same pixels are found again however they were imported.
"""

from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from schemas.errors import DataError
from schemas.imported import ImportedData
from storage.reader import Store
from train.data import Samples, chunks
from train.records.run_folder import Run

# Validation samples do two things: they choose the epoch, and calibrate what the run says of its certainty.
TRAIN, VAL, CALIBRATION = "train", "val", "calibration"
CHOSE = (VAL, CALIBRATION)
# 80 MB for ten million images. That one of 6,000 others agrees with any of them has odds of 3 in a billion.
FINGERPRINT_BYTES = 8
IMAGES_AT_ONCE = 256

Ids = NDArray[np.int64]
Fingerprints = NDArray[np.uint64]


def roles_of(train: Samples, val: Samples | None) -> dict[str, Ids]:
    """The samples by what they are used for; those that choose the epoch also calibrate."""
    roles = {TRAIN: train.sample_id}
    return roles if val is None else roles | dict.fromkeys(CHOSE, val.sample_id)


def contents_of(store: Store, train: Samples, val: Samples | None) -> dict[str, Fingerprints] | None:
    """Fingerprints of the images by role; None of simulated ones, whose numbers say all."""
    if not isinstance(store.origin, ImportedData):
        return None
    contents = {TRAIN: fingerprints(train)}
    if val is not None:
        found = fingerprints(val)
        contents |= dict.fromkeys(CHOSE, found)
    return contents


def fingerprints(samples: Samples) -> Fingerprints:
    """A number for the pixels of each image, in the order of the samples."""
    found = [
        blake2b(image.tobytes(), digest_size=FINGERPRINT_BYTES).digest()
        for some in chunks(samples, IMAGES_AT_ONCE)
        for image in some.cpu().numpy()
    ]
    return np.frombuffer(b"".join(found), dtype="<u8")


@dataclass(frozen=True)
class Shared:
    """How many of a split's samples a run has seen, by what it used them for."""

    samples: int
    numbers: dict[str, int]
    contents: dict[str, int]


def find_shared(run: Run, store: Store, samples: Samples) -> Shared:
    """Samples that are the same by seed and index, or by their pixels where the run kept fingerprints."""
    same_seed = store.origin.seed == run.record.data.seed
    roles = (TRAIN, *CHOSE)
    here = None
    if isinstance(store.origin, ImportedData) and run.used_contents(TRAIN) is not None:
        here = fingerprints(samples)
    numbers = {
        role: int(np.isin(samples.sample_id, run.used_samples(role)).sum()) if same_seed else 0
        for role in roles
    }
    contents = {role: 0 if here is None else _among(here, run.used_contents(role)) for role in roles}
    return Shared(len(samples), numbers, contents)


def _among(here: Fingerprints, used: Fingerprints | None) -> int:
    return 0 if used is None else int(np.isin(here, used).sum())


def refuse_shared(shared: Shared, run: Run, store: Store, split: str) -> None:
    """No score on samples that the model has seen.

    Validation samples are measured where someone asks for the split `val`, and nowhere else. Copies within
    one source are a fault of the data: they are warned of, since nothing could be measured otherwise.
    """
    same_seed = store.origin.seed == run.record.data.seed
    seen = shared.numbers if same_seed else shared.contents
    faults = [f"{seen[TRAIN]:,} of {shared.samples:,} samples of the {split} split were trained on"]
    faults = faults if seen[TRAIN] else []
    if seen[VAL] and split != VAL:
        faults.append(
            f"{seen[VAL]:,} of {shared.samples:,} samples of the {split} split chose the epoch and calibrated"
        )
    if faults:
        how = f"same seed {store.origin.seed} and index" if same_seed else "the same images, imported twice"
        raise DataError(
            f"{'; '.join(faults)} ({how})",
            expected="samples that the model has not seen",
            where=str(store.root),
            advice="evaluate the test split, or data of another seed"
            if same_seed
            else "import only images that the model has not seen",
        )


def shared_warnings(shared: Shared, split: str) -> list[str]:
    """What flatters a score without forbidding it."""
    found = []
    if split == VAL and (shared.numbers[VAL] or shared.contents[VAL]):
        found.append("these samples chose the epoch that was kept, so the score flatters the model")
    copies = shared.contents[TRAIN]
    if copies:
        found.append(
            f"{copies:,} of {shared.samples:,} images are copies of images that were trained on,"
            " so the score flatters the model"
        )
    return found
