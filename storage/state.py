"""Where lensmill keeps what is neither data nor configuration."""

import os
from pathlib import Path


def state_folder() -> Path:
    """`LENSMILL_HOME`, or the XDG place."""
    if own := os.environ.get("LENSMILL_HOME"):
        return Path(own)
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "lensmill"
