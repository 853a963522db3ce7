"""What others can wait for: events of Prefect, to which automations react with a mail, a call or another run.

- `lensmill.FLOW.failed` when a flow fails or crashes, `lensmill.FLOW.cancelled` when it is cancelled;
- `lensmill.dataset.sealed` when a data set is finished.

Each names the store or folder and, of a failure, the first line of what went wrong and what to do.
"""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from prefect.events import emit_event
from prefect.states import get_state_exception

from schemas.errors import LensmillError

if TYPE_CHECKING:
    from prefect import Flow
    from prefect.client.schemas.objects import FlowRun, State

AnyFlow = TypeVar("AnyFlow", bound="Flow[Any, Any]")
# Parameters that name what a flow makes, then what it reads.
PLACES = ("out", "folder", "run", "data", "store")
LONGEST = 500
ADVICE = "see the flow run's log, then run it again: what was made is kept"


def watched(flow: AnyFlow) -> AnyFlow:
    """A flow whose end, unless it is a good one, is an event."""
    flow.on_failure(_failed)
    flow.on_crashed(_failed)
    flow.on_cancellation(_cancelled)
    return flow


def sealed(store: str, recipe: str, digest: str, rows: int, made: int) -> None:
    """A data set is finished, or was completed."""
    payload = {"store": store, "recipe": recipe, "digest": digest, "rows": rows, "shards_made": made}
    # a path may be as long as it likes; what went wrong with telling is no fault of the data set
    with contextlib.suppress(Exception):
        emit_event("lensmill.dataset.sealed", _resource("dataset", recipe), payload=payload)


def _failed(flow: "Flow[Any, Any]", flow_run: "FlowRun", state: "State[Any]") -> None:
    _emit("failed", flow, flow_run, state)


def _cancelled(flow: "Flow[Any, Any]", flow_run: "FlowRun", state: "State[Any]") -> None:
    _emit("cancelled", flow, flow_run, state)


def _emit(how: str, flow: "Flow[Any, Any]", flow_run: "FlowRun", state: "State[Any]") -> None:
    message, advice = _told(state)
    place = next((str(flow_run.parameters[name]) for name in PLACES if flow_run.parameters.get(name)), "")
    emit_event(
        f"lensmill.{flow.name}.{how}",
        _resource("flow", flow.name),
        related=[
            {
                "prefect.resource.id": f"prefect.flow-run.{flow_run.id}",
                "prefect.resource.role": "flow-run",
                "prefect.resource.name": flow_run.name,
            }
        ],
        payload={
            "flow": flow.name,
            "run": flow_run.name,
            "store": place,
            "state": state.name,
            "message": message[:LONGEST],
            "advice": advice[:LONGEST],
            # of a failure inside of another flow there is one event each
            "subflow": flow_run.parent_task_run_id is not None,
        },
    )


def _told(state: "State[Any]") -> tuple[str, str]:
    """The first line of what went wrong, and what to do."""
    error: object = None
    if state.is_failed() or state.is_crashed():
        with contextlib.suppress(Exception):
            error = get_state_exception(state)
    if isinstance(error, LensmillError):
        return error.found.partition("\n")[0], error.advice or ADVICE
    return (state.message or state.name or "").partition("\n")[0], ADVICE


def _resource(kind: str, name: str) -> dict[str, str]:
    return {"prefect.resource.id": f"lensmill.{kind}.{Path(name).name}", "prefect.resource.name": name}
