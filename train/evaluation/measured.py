"""What every section of a report is made from."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from storage.reader import Store
from train.data import Samples
from train.records.run_folder import Run


@dataclass(frozen=True)
class Measured:
    """A run, the samples it was measured on, and what its network gave for each of them."""

    run: Run
    store: Store
    samples: Samples
    output: NDArray[np.float64]
    split: str
