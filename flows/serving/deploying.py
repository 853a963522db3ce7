"""The deployments that prefect.yaml lists, given to a server by Prefect's own command."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from flows.serving.pools import ROOT
from schemas.errors import FlowError
from schemas.frozen import sha256_of
from schemas.reading import parse

LISTED = ROOT / "prefect.yaml"
# It takes seconds, and minutes where everything else is at work too.
DEPLOY_SECONDS = 600.0


def deployment_names() -> set[str]:
    """What prefect.yaml deploys."""
    return {one["name"] for one in parse(LISTED.read_text(), str(LISTED)).value["deployments"]}


def deployments_digest() -> str:
    """Of all that deployments and their forms are made of: after an update they are deployed anew."""
    sources = [LISTED]
    sources += [path for package in ("flows", "schemas") for path in sorted((ROOT / package).rglob("*.py"))]
    return sha256_of(b"".join(path.read_bytes() for path in sources))


def deploy_all(environment: Mapping[str, str], log: Path) -> None:
    """All of them, on the server that the environment names; `log` is that server's."""
    prefect = [sys.executable, "-m", "prefect", "--no-prompt"]
    try:
        done = subprocess.run(  # noqa: S603
            [*prefect, "deploy", "--all", "--prefect-file", str(LISTED)],
            env=dict(environment),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=DEPLOY_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise FlowError(
            f"`prefect deploy` did not end within {DEPLOY_SECONDS:g} s",
            where=str(log),
            advice="when the machine has less to do, run `lensmill up` again; it goes on from here",
        ) from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-600:]
        raise FlowError(f"`prefect deploy` failed: {said}", where=str(log))
