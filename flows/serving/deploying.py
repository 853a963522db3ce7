"""The deployments that prefect.yaml lists, given to a server by Prefect's own command."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flows.serving.answers import Server
from flows.serving.pools import ROOT
from schemas.errors import FlowError
from schemas.frozen import sha256_of
from schemas.reading import parse

LISTED = ROOT / "prefect.yaml"
DEPLOYMENTS = "/deployments/filter"
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


def deploy_all(server: Server, environment: Mapping[str, str], log: Path) -> None:
    """All of them, on the server that the environment names; `log` is that server's.

    Prefect makes all schedules anew. Those that people have switched on or off stay so.
    """
    before = {_told(one): one["active"] for one in _schedules(server)}
    _deploy(environment, log)
    for schedule in _schedules(server):
        active = before.get(_told(schedule), schedule["active"])
        if schedule["active"] != active:
            path = f"/deployments/{schedule['deployment_id']}/schedules/{schedule['id']}"
            server.ask(path, {"active": active}, "PATCH")


def _schedules(server: Server) -> list[dict[str, Any]]:
    return [one for deployment in server.ask(DEPLOYMENTS, {"limit": 200}) for one in deployment["schedules"]]


def _told(schedule: Mapping[str, Any]) -> str:
    """What a schedule says, and of which deployment, without what it is called and whether it is on."""
    return json.dumps([schedule[key] for key in ("deployment_id", "schedule", "parameters")], sort_keys=True)


def _deploy(environment: Mapping[str, str], log: Path) -> None:
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
            advice="when the machine has less to do, run `lensmill up` again",
        ) from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-600:]
        raise FlowError(f"`prefect deploy` failed: {said}", where=str(log))
