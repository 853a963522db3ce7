"""Records that people build by hand: what is wrong is told in one message of ours."""

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from schemas.errors import DataError
from schemas.request import MOST_FAULTS
from schemas.selection import ColumnRange, Selection
from storage.reading.epochs import Batching


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Selection(classes="cdm"), r"classes: should be a tuple \(found 'cdm'\): write \('cdm',\)"),
        (lambda: Selection(classes=["cdm", "wdm"]), r"write \('cdm', 'wdm'\)"),
        (lambda: Selection(sample_ids=np.arange(3)), r"write tuple\(array\.tolist\(\)\)"),
        (lambda: Selection(ranges=ColumnRange(column="e1", low=0.0)), r"ranges: should be a tuple"),
        (lambda: Selection(split="tst"), r"'train', 'val' or 'test' \(found 'tst'\); did you mean 'test'"),
        (lambda: Selection(every=0), r"every: input should be greater than or equal to 1 \(found 0\)"),
        (lambda: Selection(clases=("cdm",)), r"clases: unknown field; did you mean 'classes'"),
        (lambda: Selection(kind="cdm"), r"kind: unknown field, not one of split, classes, ranges"),
        (lambda: Selection(first=np.int64(3)), r"found np.int64\(3\)\); \.item\(\) makes a plain number"),
        (lambda: ColumnRange(column="theta_E"), r"the range of theta_E has neither low nor high"),
        (lambda: ColumnRange(column="e1", low=2.0, high=1.0), r"ends below its beginning: 2 to 1"),
        (lambda: ColumnRange(low=1.0), r"column: missing"),
        (lambda: Batching(batch=0), r"1 fault in Batching\(\.\.\.\)\n  - batch: input should be greater"),
        (lambda: Batching(batch=4, rank=2, world=2), r"there is no rank 2 among 2, which count from 0"),
    ],
)
def test_what_is_wrong_is_told_without_pydantic(build: Callable[[], Any], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        build()
    assert "pydantic" not in str(caught.value)
    assert caught.value.__suppress_context__, "nobody has to read the first message"


def test_all_faults_are_told_at_once_up_to_a_number() -> None:
    with pytest.raises(DataError) as caught:
        Selection(split="tst", every=0, per_class=-1)
    assert str(caught.value).startswith("3 faults in Selection(...)")
    assert all(f"  - {name}: " in str(caught.value) for name in ("split", "every", "per_class"))
    with pytest.raises(DataError) as caught:
        Selection(sample_ids=tuple(np.arange(500)))
    lines = str(caught.value).splitlines()
    assert len(lines) == 2 + MOST_FAULTS
    assert lines[-1].startswith("  - and 49")


def test_records_are_read_as_ever() -> None:
    one = Selection(classes=("cdm",), ranges=(ColumnRange(column="theta_E", low=1.0),), sample_ids=(1, 2))
    assert Selection.model_validate_json(one.to_json()) == one
    assert pickle.loads(pickle.dumps(one)) == one  # noqa: S301
    # whoever reads a file tells its path and line
    with pytest.raises(ValidationError, match="ends below its beginning"):
        Selection.model_validate({"ranges": ({"column": "e1", "low": 2.0, "high": 1.0},)})
