"""A run folder: weights as safetensors, everything else JSON, CSV and Parquet. No pickle anywhere.

The folder is filled under another name and moved into place when it is complete, so a run folder is either
whole or not there.
"""

import contextlib
import hashlib
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from schemas.errors import LensmillError, PlaceError, RunError, RunMissingError, WriteError, first_line
from schemas.run import RunRecord
from storage.files.place import local
from train.models.registry import Shape
from train.objectives import Objective, objective_of
from train.records.under_way import refuse_unfinished
from train.records.weights_file import promised_bytes
from train.stretch import Stretch

RECORD = "run.json"
# only exported models have it
CARD = "card.json"
WEIGHTS = "weights.safetensors"
SAMPLES = "samples.parquet"
CONTENT = "content"
HISTORY = "history.csv"
HISTORY_TABLE = "history.parquet"
REPORTS = "reports"


@dataclass(frozen=True)
class Run:
    """A finished run, ready to predict."""

    root: Path
    record: RunRecord
    objective: Objective
    network: nn.Module

    def used_samples(self, role: str) -> NDArray:  # type: ignore[type-arg]
        """Indices of the samples used as `train`, `val` or `calibration`, all of the data's seed."""
        return self._samples(role).column("sample_id").to_numpy()

    def used_contents(self, role: str) -> NDArray | None:  # type: ignore[type-arg]
        """Fingerprints of their images; None where numbers say enough, and in runs from before."""
        table = self._samples(role)
        return table.column(CONTENT).to_numpy() if CONTENT in table.column_names else None

    def _samples(self, role: str) -> pa.Table:
        path = self.root / SAMPLES
        if not path.is_file() and (self.root / CARD).is_file():
            raise RunMissingError(
                f"{self.root} does not say which samples it was trained on: it is an exported model",
                expected=f"the folder of a run, with {SAMPLES}",
                advice="use the run that this model was exported from",
            )
        try:
            return pq.read_table(path, filters=[("role", "=", role)])
        except (OSError, pa.ArrowException) as error:
            raise RunError(
                f"{path} {'cannot be read' if path.is_file() else 'is missing'}",
                expected="the numbers of the samples that the run was trained on",
                advice="restore it from a copy, or train again: nobody else knows what it may be measured on",
            ) from error


@contextlib.contextmanager
def new_folder(target: Path, replace: bool = False) -> Iterator[Path]:
    """A folder to fill that appears as `target` when the block ends well, and leaves nothing otherwise."""
    if not replace:
        check_free(target)
    sweep(target)
    staging = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        staging.mkdir(parents=True)
        yield staging
        if target.exists():
            shutil.rmtree(target)
        staging.replace(target)
    except LensmillError:
        raise
    except OSError as error:
        raise WriteError(
            f"cannot write {target}: {error.strerror or error}", advice="free space or mend permissions"
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def check_free(target: Path) -> None:
    """Refuse a path where something is, or where no folder can be."""
    if target.exists():
        raise PlaceError(
            f"{target} exists",
            expected="a path where nothing is yet",
            advice="choose another path, or move it away",
        )
    check_can_be(target)


def check_can_be(target: Path) -> None:
    """Refuse a path where no folder can be made, before hours of work for it."""
    there = next(one for one in target.absolute().parents if one.exists())
    if not there.is_dir():
        raise PlaceError(
            f"cannot make the folder {target}: {there} is a file",
            expected="a folder, or a path where nothing is yet",
            advice="choose another path",
        )
    try:
        # permissions alone do not tell: a file system may be read-only, or none that takes folders
        tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=there).cleanup()
    except OSError as error:
        raise PlaceError(
            f"cannot make the folder {target}: {there}: {error.strerror or error}",
            expected="a folder that can be written to",
            advice="mend its permissions, or choose another path",
        ) from error


def sweep(target: Path) -> None:
    """Remove what killed processes left of a folder; each had a name of its own."""
    for stale in target.parent.glob(f".{target.name}.*.partial"):
        owner = stale.name.split(".")[-2]
        if owner.isdecimal() and not psutil.pid_exists(int(owner)):
            shutil.rmtree(stale, ignore_errors=True)


def save_weights(network: nn.Module, path: Path) -> str:
    """Write the weights; their SHA-256."""
    save_file({name: value.contiguous().cpu() for name, value in network.state_dict().items()}, path)
    return sha256_of_file(path)


def sha256_of_file(path: Path) -> str:
    """SHA-256 of a file without holding it in memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save_samples(
    path: Path,
    roles: dict[str, NDArray],  # type: ignore[type-arg]
    seed: int,
    contents: dict[str, NDArray] | None = None,  # type: ignore[type-arg]
) -> None:
    """Which samples were used for what, by (seed, index), and by fingerprints of their images if given."""
    tables = []
    for role, ids in roles.items():
        columns = {"role": [role] * len(ids), "seed": [seed] * len(ids), "sample_id": ids}
        if contents is not None:
            columns[CONTENT] = contents[role]
        if len(ids):
            tables.append(pa.table(columns))
    pq.write_table(pa.concat_tables(tables), path)


def load_run(root: str | Path) -> Run:
    """A finished run from its folder, its weights checked and loaded."""
    root = local(root)
    record = read_record(root)
    path = root / WEIGHTS
    fault = _weights_fault(path, record.weights_sha256)
    if fault:
        raise RunError(f"{path} {fault}", advice="restore it from a copy, or train again")
    objective = objective_of(record.head, record.calibration)
    channels, _, side = record.data.image_shape
    shape = Shape(channels, side, objective.outputs)
    network = objective.rebuild(record.experiment.model, shape, record.network_input)
    try:
        network.load_state_dict(load_file(path))
    except (RuntimeError, SafetensorError) as error:
        raise RunError(
            f"the weights do not fit model {record.experiment.model.name!r}: {first_line(error)}",
            expected=f"the versions that trained it: {record.versions}",
            where=str(path),
        ) from error
    return Run(root, record, objective, nn.Sequential(Stretch(record.stretch), network).eval())


def _weights_fault(path: Path, sha256: str) -> str:
    if not path.is_file():
        return "is missing"
    size, promised = path.stat().st_size, promised_bytes(path)
    if promised is not None and size < promised:
        return f"is not the file that run.json describes: it is cut off, {size:,} of {promised:,} bytes"
    return "" if sha256_of_file(path) == sha256 else "is not the file that run.json describes"


def read_record(root: Path) -> RunRecord:
    """What a run says of itself."""
    path = root / RECORD
    if not path.is_file():
        refuse_unfinished(root)
        raise RunMissingError(
            f"{root} is no finished run",
            expected=f"a folder with {RECORD} and {WEIGHTS}",
            advice="train one: lensmill train EXPERIMENT --data STORE --out RUN",
        )
    try:
        return RunRecord.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise _no_record(path, error) from error
    except OSError as error:
        raise RunError(
            f"cannot read {path}: {error.strerror}", advice="mend its permissions, or restore it from a copy"
        ) from error


def _no_record(path: Path, error: ValidationError) -> RunError:
    faults = {".".join(map(str, one["loc"])): one for one in error.errors(include_url=False)}
    if "format_version" in faults:
        return RunError(
            f"{path} has format version {faults['format_version']['input']}",
            expected="version 1",
            advice="the run was written by a newer lensmill: install that version",
        )
    key, first = next(iter(faults.items()))
    advice = "restore it from a copy, or train again"
    if first["type"] == "extra_forbidden":
        advice = f"if a newer lensmill wrote it, install that version; else {advice}"
    return RunError(
        f"{path} is not what lensmill wrote: {key or 'text'}: {first['msg']}",
        expected="the record of a run in JSON, as lensmill train ends with",
        advice=advice,
    )


def versions() -> dict[str, str]:
    """What made a run or a report."""
    packages = ("lensmill", "torch", "timm", "lightning", "numpy")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def device() -> torch.device:
    """Where this process trains and predicts."""
    # with its number, which threads would not know otherwise
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")


def device_name() -> str:
    """What trains and predicts here."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    threads = torch.get_num_threads()
    return f"CPU, {threads} thread{'' if threads == 1 else 's'}"
