"""Lets torchvision be imported beside a torch that its compiled operators do not fit.

With a CPU-only torch, the CUDA-linked torchvision wheel cannot load its operators, and the import dies
while it describes two of them: `operator torchvision::nms does not exist`. Declaring their schemas before
is enough; calling them still ends in torchvision's own clear error. We use none of them, but timm,
torchmetrics and Lightning import torchvision.
"""

import functools
from importlib.util import find_spec
from pathlib import Path

import torch

SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}


@functools.cache
def declare_missing_operators() -> torch.library.Library | None:
    """Declare what torchvision cannot load; None where it loads or is not installed.

    The library object must stay alive, or torch forgets the declarations: the cache keeps it.
    """
    spec = find_spec("torchvision")
    if spec is None or spec.origin is None or _operators_load(Path(spec.origin).parent):
        return None
    library = torch.library.Library("torchvision", "FRAGMENT")
    for schema in SCHEMAS.values():
        library.define(schema)
    return library


def _operators_load(folder: Path) -> bool:
    compiled = sorted(folder.glob("_C*.so")) + sorted(folder.glob("_C*.pyd"))
    try:
        for path in compiled:
            torch.ops.load_library(str(path))
    except OSError:
        return False
    return bool(compiled)
