"""`python -m train.other_process`: what the processes of a training do that are not the first."""

import json
import os
import sys
from pathlib import Path

from schemas.errors import LensmillError
from schemas.experiment import ExperimentRecipe
from train.fit import take_part
from train.processes import READY, Ranks


def main() -> None:
    """Take part in the training that a line of JSON describes."""
    work = json.load(sys.stdin)
    experiment = ExperimentRecipe.model_validate_json(json.dumps(work["experiment"]))
    try:
        take_part(experiment, work["data"], Path(work["folder"]), Ranks(*work["ranks"]), _say_ready)
    except LensmillError as error:
        sys.exit(str(error))


def _say_ready() -> None:
    sys.stdout.buffer.write(READY)
    sys.stdout.flush()
    # nobody listens from here on
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())


if __name__ == "__main__":
    main()
