"""Our own images from fixed seeds; `python tests/golden/regenerate.py` makes them anew, on purpose."""

from typing import Any

import numpy as np
import pytest

from flows.catalogue import shipped
from tests.golden.regenerate import SAMPLES, golden_samples


@pytest.fixture(scope="module")
def golden() -> Any:
    with np.load(SAMPLES) as npz:
        yield {name: npz[name] for name in npz.files}


@pytest.mark.parametrize("name", shipped())
def test_samples_are_what_they_were(golden: dict[str, np.ndarray], name: str) -> None:
    """Within a tolerance: vector instructions differ between machines in the last places."""
    for key, values in golden_samples(name).items():
        expected = golden[key]
        assert values.dtype == expected.dtype
        scale = np.abs(expected).max() if key.endswith(".image") else 0.0
        np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6 * scale, err_msg=key)


def test_every_shipped_recipe_has_golden_samples_and_no_other(golden: dict[str, np.ndarray]) -> None:
    assert {key.split(".")[0] for key in golden} == set(shipped())
