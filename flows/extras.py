"""Packages of extras, which need not be installed: what is missing is told before anything is done."""

from importlib.util import find_spec

from schemas.errors import FlowError

TRAINING = ("torch", "timm", "lightning", "safetensors", "pyarrow", "jinja2")


def need_training() -> None:
    """Say what to install where the packages for training are missing."""
    missing = [name for name in TRAINING if find_spec(name) is None]
    if missing:
        raise FlowError(
            f"training needs {', '.join(missing)}",
            expected="the packages of the extra `train`",
            advice="pip install -e '.[train]' in the folder of the repository",
        )
