"""What a Prefect server says of itself: its workers, deployments, runs. By plain requests, without Prefect.

Loading Prefect takes seconds and fixes the address that it talks to.
"""

import base64
import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

from schemas.errors import FlowError

ANSWER_SECONDS = 20.0
# while the machine is busy with other things
BUSY_PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0)
# Of questions that change nothing; a server that hangs is to be found out within a minute.
SLOW_TRIES = 3
UNDERWAY = ("RUNNING", "PENDING", "CANCELLING")


@dataclass(frozen=True)
class Server:
    """Where a server is, and what it takes to be let in."""

    address: str
    secret: str | None = None

    def ask(self, path: str, body: Any = None, method: str = "POST") -> Any:
        """What it answers; anything but an answer is an error."""
        headers = {"Content-Type": "application/json"}
        if self.secret is not None:
            headers["Authorization"] = f"Basic {base64.b64encode(self.secret.encode()).decode()}"
        content = None if method == "GET" else json.dumps(body or {}).encode()
        request = urllib.request.Request(  # noqa: S310
            self.address + path, content, headers, method=method
        )
        slow = 0 if method == "GET" or path.endswith("/filter") else SLOW_TRIES
        for pause in (*BUSY_PAUSES, None):
            try:
                with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:  # noqa: S310
                    text = answer.read()
                    return json.loads(text) if text else None
            except urllib.error.HTTPError as error:
                # its database was locked for longer than it waits, which passes
                if error.code != 503 or pause is None:
                    raise _refused(self.address, path, error) from error
                time.sleep(pause)
            except (OSError, ValueError) as error:
                reason = getattr(error, "reason", error)
                slow += 1
                if isinstance(reason, TimeoutError) and slow < SLOW_TRIES:
                    continue
                raise FlowError(
                    f"Prefect's server does not answer: {reason}",
                    where=self.address,
                    advice="start one: lensmill up; or mend PREFECT_API_URL",
                ) from error
        return None

    def workers_online(self, pool: str) -> set[str]:
        """Names of the workers that poll a pool."""
        found = self.ask(f"/work_pools/{pool}/workers/filter", {"workers": {"status": {"any_": ["ONLINE"]}}})
        return {one["name"] for one in found}

    def deployments(self) -> set[str]:
        """Names of all deployments."""
        return {one["name"] for one in self.ask("/deployments/filter", {"limit": 200})}

    def runs_underway(self) -> list[dict[str, Any]]:
        """Runs that have begun and not ended, children of others included."""
        states = {"state": {"type": {"any_": UNDERWAY}}}
        return list(self.ask("/flow_runs/filter", {"flow_runs": states, "limit": 200}))

    def underway(self) -> dict[str, str]:
        """The same by their id, with flow and name as Prefect's page shows them."""
        runs = self.runs_underway()
        flows = {one["id"]: one["name"] for one in self.ask("/flows/filter", {"limit": 200})} if runs else {}
        return {one["id"]: f"{flows.get(one['flow_id'], 'flow')}/{one['name']}" for one in runs}

    def end_run(self, run: str, why: str) -> None:
        """Let a run be cancelled, whatever became of its process."""
        state = {"type": "CANCELLED", "name": "Cancelled", "message": why}
        self.ask(f"/flow_runs/{run}/set_state", {"state": state, "force": True})

    def pause(self, pool: str, paused: bool) -> None:
        """Let a pool's workers start nothing new, or let them go on."""
        self.ask(f"/work_pools/{pool}", {"is_paused": paused}, "PATCH")


def _refused(address: str, path: str, error: urllib.error.HTTPError) -> FlowError:
    if error.code == 401:
        return FlowError(
            "Prefect's server wants another password",
            where=address,
            advice="set PREFECT_API_AUTH_STRING to its user:password; if it is not yours, use another port",
        )
    return FlowError(f"Prefect's server answered {error.code} to {path}", where=address)
