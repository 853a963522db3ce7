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
    """Within a tolerance: vector instructions differ between machines in the last places.

    Where electrons are counted, that may move a pixel in a hundred thousand to the next whole number.
    """
    for key, values in golden_samples(name).items():
        expected = golden[key]
        assert values.dtype == expected.dtype
        if not key.endswith(".image"):
            np.testing.assert_allclose(values, expected, rtol=1e-5, err_msg=key)
            continue
        peak = np.abs(expected).max()
        off = ~np.isclose(values, expected, rtol=1e-5, atol=1e-6 * peak)
        assert off.mean() < 1e-5 + 1 / off.size, key
        assert np.abs(values - expected).max() < 0.02 * peak, key


def test_every_shipped_recipe_has_golden_samples_and_no_other(golden: dict[str, np.ndarray]) -> None:
    assert {key.split(".")[0] for key in golden} == set(shipped())
