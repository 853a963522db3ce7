"""`python -m flows.serving.prefect_server WORDS...`: Prefect's command, in a process that starts sooner.

What a server loads, and makes a new database with, stays. Python's collector looks it through again and
again, which is a fifth of the seconds until the server answers.
"""

import gc
import runpy

# new objects between two looks; 700 by itself
NEW_OBJECTS = 50_000


def main() -> None:
    """Become the command."""
    gc.set_threshold(NEW_OBJECTS)
    runpy.run_module("prefect", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
