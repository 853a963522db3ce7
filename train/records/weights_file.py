"""How long a file of weights is to be by its own header: one that is cut off is told from a changed one."""

import json
from pathlib import Path

LENGTH_BYTES = 8
# a header names tensors: one that promises more is no header
MOST_HEADER_BYTES = 100_000_000


def promised_bytes(path: Path) -> int | None:
    """The length of a whole safetensors file; None if its header cannot be read."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(LENGTH_BYTES), "little")
        if not 0 < length <= MOST_HEADER_BYTES:
            return None
        header = file.read(length)
    if len(header) < length:
        return LENGTH_BYTES + length
    try:
        tensors = [one for name, one in json.loads(header).items() if name != "__metadata__"]
        return LENGTH_BYTES + length + max(int(one["data_offsets"][1]) for one in tensors)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return None
