"""A network as an ONNX file, held to what torch says."""

import contextlib
import logging
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from schemas.card import OnnxFile
from train.images import Pixels
from train.records.run_folder import Run, sha256_of_file
from train.release.answers import Answers, meaning_of
from train.release.model import as_tensor

FILE = "model.onnx"
INPUT = "images"
# of the largest value of a column; single precision rounds to 1e-7
MOST_DIFFERENCE = 1e-4
# a column of numbers near nothing is judged by the others
SMALLEST_COLUMN = 1e-3


class NotExportedError(RuntimeError):
    """Why there is no ONNX file, in a sentence."""


def write_onnx(run: Run, path: Path, images: Pixels, real: bool) -> OnnxFile:
    """Write the network with its stretch, and compare it with torch on these images, two or more.

    Weights are inside the file. What is written is removed again if it does not say the same.
    """
    missing = [name for name in ("onnx", "onnxscript") if find_spec(name) is None]
    if missing:
        raise NotExportedError(f"{' and '.join(missing)} not installed: pip install -e '.[export]'")
    meaning, columns = meaning_of(run.record)
    network = Answers(run.network.to("cpu"), meaning).eval()
    try:
        with _quiet():
            _export(network, as_tensor(images[:2]), list(columns), path)
    # hundreds of authors wrote the networks, and the exporter raises anything
    except Exception as error:
        path.unlink(missing_ok=True)
        first = (str(error) or type(error).__name__).strip().splitlines()[0]
        name = run.record.experiment.model.name
        raise NotExportedError(f"torch cannot put {name} into ONNX: {first}") from error
    difference = None
    if find_spec("onnxruntime") is not None:
        difference = _difference(network, path, images)
    if difference is not None and not difference <= MOST_DIFFERENCE:
        path.unlink()
        raise NotExportedError(
            f"onnxruntime differs from torch by {difference:.1g} of the largest value,"
            f" more than {MOST_DIFFERENCE:g}"
        )
    return OnnxFile(
        file=path.name,
        sha256=sha256_of_file(path),
        input=INPUT,
        outputs=columns,
        checked_images=0 if difference is None else len(images),
        checked_on=None if difference is None else "training data" if real else "random images",
        largest_difference=difference,
    )


def _export(network: nn.Module, images: torch.Tensor, names: list[str], path: Path) -> None:
    program = torch.onnx.export(
        network,
        (images,),
        dynamo=True,
        dynamic_shapes=({0: torch.export.Dim("count", min=1)},),
        input_names=[INPUT],
        output_names=names,
        verbose=False,
    )
    assert program is not None
    path.write_bytes(_without_traces(program.model_proto).SerializeToString())


def _without_traces(model: Any) -> Any:
    """The exporter notes for each node which lines of which files it came from: paths of this computer."""
    graphs = [model.graph, *model.functions]
    for graph in graphs:
        noted = [graph, *graph.node, *graph.value_info]
        noted += [*graph.input, *graph.output, *graph.initializer] if graph is model.graph else []
        for one in noted:
            one.ClearField("metadata_props")
            one.ClearField("doc_string")
    return model


def _difference(network: nn.Module, path: Path, images: Pixels) -> float:
    """The largest one, of a column's largest value; all images together and the first alone."""
    return max(_one_difference(network, path, some) for some in (images, images[:1]))


def _one_difference(network: nn.Module, path: Path, images: Pixels) -> float:
    with torch.inference_mode():
        expected = [one.numpy() for one in network(as_tensor(images))]
    worst = 0.0
    for ours, theirs in zip(expected, _run(path, images), strict=True):
        largest = np.abs(ours).max(axis=0)
        scale = np.maximum(largest, max(SMALLEST_COLUMN * float(largest.max()), 1e-30))
        worst = max(worst, float((np.abs(ours - theirs) / scale).max()))
    return worst


def _run(path: Path, images: Pixels) -> list[NDArray[Any]]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found: list[NDArray[Any]] = session.run(None, {INPUT: np.asarray(images, np.float32)})
    return found


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter tells of its own insides, which nobody here can change."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
