"""The samples that a run was trained on, found again by seed and index."""

import numpy as np

from schemas.errors import DataError
from schemas.selection import Selection
from storage.reader import Store, open_store
from train.data import Samples, selected_samples, shuffling_seed
from train.evaluation.measured import Measured
from train.records.run_folder import Run

# Sixty numbers of each are kept: enough for estimators with as many weights, little enough for any machine.
MOST = 50_000


def training_store(measured: Measured) -> Store:
    """The store that the run was trained on, or the one at hand if it is of the same recipe."""
    data = measured.run.record.data
    if measured.store.stored.digest == data.recipe_digest:
        return measured.store
    store = open_store(data.store)
    if store.stored.digest != data.recipe_digest:
        raise DataError(
            f"the store at {data.store} is of digest {store.stored.digest[:8]}",
            expected=f"{data.recipe_digest[:8]}, which the run was trained on",
            where=str(measured.run.root),
        )
    return store


def training_samples(run: Run, store: Store) -> Samples:
    """Those that the weights come from; of very many, some that the experiment's seed chooses.

    Labels that the training shuffled are shuffled here.
    """
    used = run.used_samples("train")
    if len(used) > MOST:
        rng = np.random.default_rng(run.record.experiment.seed)
        used = np.sort(rng.choice(used, MOST, replace=False))
    split = store.plan.splits[0].name
    selection = Selection(split=split, sample_ids=tuple(used.tolist()))
    return selected_samples(store, selection, shuffled=shuffling_seed(run.record.experiment))
