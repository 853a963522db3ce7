"""Kernels' helpers from Python: they only exist inside of compiled loops."""

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import pytest

from simulate.kernels.compiled import OPTIONS

Array = np.ndarray


@pytest.fixture(scope="session")
def over() -> Callable[..., Callable[..., Array]]:
    """A helper of numbers as a function of arrays, compiled in a loop as kernels are."""

    def looped(helper: Any, count: int) -> Callable[..., Array]:
        @numba.njit(**OPTIONS)
        def one(a: Array, found: Array) -> None:
            for i in range(a.size):
                found[i] = helper(a[i])

        @numba.njit(**OPTIONS)
        def two(a: Array, b: Array, found: Array) -> None:
            for i in range(a.size):
                found[i] = helper(a[i], b[i])

        @numba.njit(**OPTIONS)
        def three(a: Array, b: Array, c: Array, found: Array) -> None:
            for i in range(a.size):
                found[i] = helper(a[i], b[i], c[i])

        loop = (one, two, three)[count - 1]

        def call(*arrays: Any) -> Array:
            given = [np.ascontiguousarray(array, dtype=np.float64) for array in arrays]
            found = np.empty(given[0].size)
            loop(*given, found)
            return found

        return call

    return looped
