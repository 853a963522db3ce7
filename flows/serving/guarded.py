"""`python -m flows.serving.guarded PARENT COMMAND...`: a server that ends when its parent process does.

A killed driver cannot stop the server it started; on Linux the kernel does it.
"""

import ctypes
import os
import random
import signal
import sys

PR_SET_PDEATHSIG = 1


def keep_to_one_core() -> None:
    """Have all threads of this process, and of what it becomes, on one core, any.

    Prefect's server hands every statement for its database from one thread to another and back. Between cores
    that takes longer than the statement: a new database was ready after 19 to 37 s, on one core after 15 s.
    """
    os.sched_setaffinity(0, {random.choice(sorted(os.sched_getaffinity(0)))})  # noqa: S311


def main() -> None:
    """Ask for the signal, check that the parent did not die before, and become the command."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            sys.exit(1)
        keep_to_one_core()
    os.execvp(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main()
