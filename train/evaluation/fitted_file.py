"""What baselines fitted, kept in the run folder, so that a second evaluation need not fit it again."""

import contextlib
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from schemas.errors import WriteError
from schemas.frozen import canonical_json, sha256_of
from storage.audit.components import Components
from train.records.run_folder import Run, new_folder

Arrays = dict[str, NDArray[np.float64]]
FOLDER, FILE = "baselines", "components.safetensors"
DIGEST = "depends_on"
# To be raised when what is fitted changes; files of before are then fitted again.
VERSION = "1"


@dataclass(frozen=True)
class FittedBaselines:
    """Components, what the estimator makes of them, and what it makes of shuffled labels."""

    components: Components
    estimator: Arrays
    shuffled: Arrays


def digest_of(run: Run) -> str:
    """SHA-256 of all that determines what is fitted."""
    record = run.record
    depends_on = {
        "version": VERSION,
        "scikit-learn": version("scikit-learn"),
        "data": record.data.recipe_digest,
        "samples": sha256_of(np.sort(run.used_samples("train")).astype("<i8").tobytes()),
        "head": record.head.model_dump(mode="json"),
        "stretch": record.stretch.model_dump(mode="json"),
        "seed": record.experiment.seed,
        "labels": record.experiment.data.labels,
    }
    return sha256_of(canonical_json(depends_on))


def load_fitted(run: Run) -> FittedBaselines | None:
    """What is kept, if it belongs to this run as it is; whatever cannot be read is fitted again."""
    path = run.root / FOLDER / FILE
    if not path.is_file():
        return None
    try:
        with safe_open(path, "numpy") as file:
            if (file.metadata() or {}).get(DIGEST) != digest_of(run):
                return None
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except (OSError, SafetensorError):
        return None
    return FittedBaselines(
        Components(arrays["components.mean"], arrays["components.directions"]),
        _named("estimator", arrays),
        _named("shuffled", arrays),
    )


def save_fitted(run: Run, fitted: FittedBaselines) -> None:
    """A run folder that nobody may write to is evaluated all the same."""
    arrays = {
        "components.mean": fitted.components.mean,
        "components.directions": fitted.components.directions,
    }
    for name, some in (("estimator", fitted.estimator), ("shuffled", fitted.shuffled)):
        arrays |= {f"{name}.{key}": np.ascontiguousarray(value) for key, value in some.items()}
    with contextlib.suppress(WriteError), new_folder(Path(run.root) / FOLDER, replace=True) as folder:
        save_file(arrays, folder / FILE, {DIGEST: digest_of(run)})


def _named(group: str, arrays: dict[str, NDArray[np.float64]]) -> Arrays:
    return {
        name.removeprefix(f"{group}."): array
        for name, array in arrays.items()
        if name.startswith(f"{group}.")
    }
