"""`verify` reports all faults, and a later format is not called damage."""

import json
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import StoreConflictError
from storage import commit
from storage.reader import open_store
from storage.verify import verify


def test_all_missing_and_truncated_files_are_told(store: Any) -> None:
    lost, cut = Path("train/label/c/0"), Path("test/image/c/1/0/0/0")
    (store.root / lost).unlink()
    (store.root / cut).write_bytes((store.root / cut).read_bytes()[:-1])
    faults = "\n".join(verify(store.root).faults)
    assert str(lost) in faults
    assert str(cut) in faults


def test_a_newer_format_is_no_damage(store: Any) -> None:
    path = store.root / commit.PLAN
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": 3}))
    with pytest.raises(StoreConflictError, match="schema version 3"):
        open_store(store.root)
