"""The scheduled flow: the next version of a data set, with new samples from a seed of its own.

Version k of a lineage takes the seed SHA-256(base seed, k) mod 2^53 and is a data set with its own digest.
A version that an earlier run left unfinished is completed first; `latest` names the newest verified one.
"""

import hashlib
import re

from prefect import flow

from flows.catalogue import load_recipe
from flows.forms import ClusterForm, LineageForm, OverridesForm, RecipeForm, WorkersForm
from flows.generate import DatasetSummary, simulate_flow
from flows.unattended import told
from schemas.errors import StoreDamagedError
from storage.commit import MARKER
from storage.durable import write_whole
from storage.place import Root, place
from storage.verify import verify

LATEST = "latest"
VERSION = re.compile(r"v([0-9]{4})\.zarr")


@flow(name="regenerate", validate_parameters=True)
@told
def regenerate_flow(
    recipe: RecipeForm,
    folder: LineageForm,
    workers: WorkersForm = None,
    overrides: OverridesForm = None,
    cluster: ClusterForm = None,
) -> DatasetSummary:
    """Make the next version below `folder`, verify it, and let `latest` name it.

    Args:
        recipe: What to simulate: a shipped recipe (`lensmill recipes` tells what each makes), the path of a
            YAML file, or the whole recipe. Its seed is that of the lineage.
        folder: Where the versions are, a folder or an `s3://` URL.
        workers: Worker processes on this machine; one per core when left out. Unused with a `cluster`.
        overrides: Changes of the recipe, each as `key=value`, such as `samples_per_class=2000`.
        cluster: Where shards are made; on the machine of the flow when left out.
    """
    root = place(folder)
    number = next_version(root)
    seed = version_seed(load_recipe(recipe, overrides or []).seed, number)
    store = root / version_name(number)
    changed = [*(overrides or []), f"seed={seed}"]
    made = simulate_flow(recipe, str(store), workers, None, changed, True, cluster=cluster)
    found = verify(store)
    if not found.sound:
        raise StoreDamagedError(f"version {number} is damaged: {found.faults[0]}", where=str(store))
    write_whole(root / LATEST, f"{version_name(number)}\n".encode())
    return made


def version_seed(base: int, number: int) -> int:
    """The seed of a version: far from the base seed and from every other version's."""
    digest = hashlib.sha256(f"{base},{number}".encode()).digest()
    return int.from_bytes(digest) % 2**53


def version_name(number: int) -> str:
    """The folder of a version."""
    return f"v{number:04d}.zarr"


def next_version(root: Root) -> int:
    """The version to make: the newest if it is unfinished, else the one after it."""
    found = [VERSION.fullmatch(path.name) for path in root.iterdir()] if root.is_dir() else []
    numbers = [int(one[1]) for one in found if one]
    newest = max(numbers, default=0)
    unfinished = newest > 0 and not (root / version_name(newest) / MARKER).is_file()
    return newest if unfinished else newest + 1
