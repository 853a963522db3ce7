"""Where a store is."""

from pathlib import Path

# What holds a store: files are addressed below it by `root / "train/image/..."`.
Root = Path


def place(text: str | Path) -> Root:
    """The root that a person names."""
    return Path(text)
