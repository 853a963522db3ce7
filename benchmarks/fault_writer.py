"""`python -m benchmarks.fault_writer ROOT BOOKS`: driver and worker in one process that starts quickly.

Makes the store that the recipe and plan in BOOKS describe. Exit code 1 and one message where it cannot.
"""

import sys
from pathlib import Path

from benchmarks.fault_stores import complete
from flows.shards import Order
from schemas.errors import LensmillError
from schemas.store import StoredRecipe, StorePlan
from storage import commit, target
from storage.files.place import place


def main() -> None:
    """Say when it begins and when it is done."""
    root, books = place(sys.argv[1]), Path(sys.argv[2])
    recipe = commit.read_json(books / commit.RECIPE, StoredRecipe).recipe
    plan = commit.read_json(books / commit.PLAN, StorePlan)
    print("ready", flush=True)
    try:
        target.check_target(root, recipe, plan)
        complete(Order(root, recipe, plan))
    except LensmillError as error:
        sys.exit(str(error))
    print("sealed", flush=True)


if __name__ == "__main__":
    main()
