"""torchvision beside a torch that its operators do not fit: importable, and honest when called."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from train import torchvision_operators
from train.torchvision_operators import SCHEMAS, _operators_load, declare_missing_operators

CALL = """
import train
import torch, torchvision, timm, torchmetrics, lightning
from torchvision.ops import nms
try:
    print(nms(torch.zeros(1, 4), torch.zeros(1), 0.5).tolist())
except RuntimeError as error:
    print("RuntimeError", str(error))
"""


def _loads_natively() -> bool:
    spec = find_spec("torchvision")
    if spec is None or spec.origin is None:
        pytest.skip("torchvision is not installed")
    return _operators_load(Path(spec.origin).parent)


def _python(code: str) -> str:
    ended = subprocess.run(
        [sys.executable, "-W", "error::UserWarning:train", "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


def test_after_train_all_that_import_torchvision_can_be_imported() -> None:
    said = _python(CALL)
    if _loads_natively():
        assert said == "[0]"
    else:
        # torchvision's own words, not torch's about a missing kernel
        assert said.startswith("RuntimeError Couldn't load custom C++ ops")


def test_without_it_torchvision_cannot_be_imported_here() -> None:
    if _loads_natively():
        pytest.skip("torchvision loads without help")
    said = _python("try:\n import torchvision\nexcept RuntimeError as error:\n print(error)")
    assert "nms does not exist" in said


def test_where_operators_load_nothing_is_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []

    def loads(folder: Path) -> bool:
        asked.append(folder)
        return True

    monkeypatch.setattr(torchvision_operators, "_operators_load", loads)
    # the undecorated function: the process keeps what it declared
    assert declare_missing_operators.__wrapped__() is None
    assert [folder.name for folder in asked] == ["torchvision"]


def test_without_torchvision_nothing_is_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision_operators, "find_spec", lambda _: None)
    assert declare_missing_operators.__wrapped__() is None


def test_it_is_declared_once_and_kept_alive() -> None:
    if _loads_natively():
        assert declare_missing_operators() is None
    else:
        assert declare_missing_operators() is not None
        assert declare_missing_operators() is declare_missing_operators()
        assert set(SCHEMAS) == {"nms", "qnms"}


def test_a_folder_without_operators_does_not_load(tmp_path: Path) -> None:
    assert not _operators_load(tmp_path)
    (tmp_path / "_C.so").write_bytes(b"no library")
    assert not _operators_load(tmp_path)
