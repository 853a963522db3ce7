"""The scheduled flow: the next version of a data set, with new samples from a seed of its own.

Version k of a lineage takes the seed SHA-256(base seed, k) mod 2^53 and is a data set with its own digest.
A version that an earlier run left unfinished is completed first; `latest` names the newest verified one.
"""

import hashlib
import re

from prefect import flow

from flows.catalogue import load_recipe
from flows.clusters import Workers
from flows.events import watched
from flows.generate import DatasetSummary, simulate_flow
from schemas.cluster import AnyCluster
from schemas.errors import StoreDamagedError
from storage.commit import MARKER
from storage.durable import write_whole
from storage.place import Root, place
from storage.verify import verify

LATEST = "latest"
VERSION = re.compile(r"v([0-9]{4})\.zarr")


@watched
@flow(name="regenerate", validate_parameters=True)
def regenerate_flow(
    recipe: str,
    folder: str,
    workers: Workers = None,
    overrides: list[str] | None = None,
    cluster: AnyCluster | None = None,
) -> DatasetSummary:
    """Make the next version below `folder`, verify it, and let `latest` name it."""
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
