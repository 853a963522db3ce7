"""What the Prefect service says of itself: work pools, flow runs of late, what is planned next."""

import os
from typing import Any
from uuid import UUID

from flows.serving.service import client_environment, running
from schemas.standing import FlowRunStanding, PoolStanding, ServiceStanding

# Runs that are shown: of late, and to come.
RECENT, PLANNED = 8, 4
FINAL_BAD = ("FAILED", "CRASHED", "CANCELLED")
SECONDS = 5.0


def service_standing(ask: bool = True) -> ServiceStanding:
    """The service that is up, or that `PREFECT_API_URL` names. One that does not answer is no error here."""
    address = os.environ.get("PREFECT_API_URL")
    record = None if address else running()
    if address is None and record is None:
        return ServiceStanding(address=None)
    address = address or record.address  # type: ignore[union-attr]
    if not ask:
        return ServiceStanding(address=address)
    if record is not None:
        os.environ.update(client_environment(record.address))
    # after the environment: Prefect reads it when it is imported
    import httpx
    from prefect.exceptions import PrefectHTTPStatusError
    from prefect.settings import PREFECT_API_REQUEST_TIMEOUT, temporary_settings

    try:
        with temporary_settings({PREFECT_API_REQUEST_TIMEOUT: SECONDS}):
            return _asked(address)
    except (httpx.HTTPError, PrefectHTTPStatusError, RuntimeError, OSError) as error:
        first = (str(error).splitlines() or [""])[0]
        return ServiceStanding(address=address, fault=f"{type(error).__name__}: {first}")


def _asked(address: str) -> ServiceStanding:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter
    from prefect.client.schemas.sorting import FlowRunSort

    def states(*types: str) -> Any:
        return FlowRunFilter.model_validate({"state": {"type": {"any_": list(types)}}})

    with get_client(sync_client=True, httpx_settings={"timeout": SECONDS}) as client:
        pools = tuple(
            PoolStanding(
                name=pool.name,
                status=str(getattr(pool.status, "value", pool.status) or "unknown").lower(),
                workers=sum(
                    str(getattr(one.status, "value", one.status)).upper() == "ONLINE"
                    for one in client.read_workers_for_work_pool(pool.name)
                ),
            )
            for pool in client.read_work_pools()
        )
        begun = ("RUNNING", "PENDING", "CANCELLING", "PAUSED", "COMPLETED", *FINAL_BAD)
        recent = client.read_flow_runs(
            flow_run_filter=states(*begun), sort=FlowRunSort.START_TIME_DESC, limit=RECENT
        )
        planned = client.read_flow_runs(
            flow_run_filter=states("SCHEDULED"), sort=FlowRunSort.EXPECTED_START_TIME_ASC, limit=PLANNED
        )
        names = {one.id: one.name for one in client.read_flows()}
        runs = tuple(_run(client, one, names) for one in (*planned, *recent))
    return ServiceStanding(address=address, pools=pools, runs=runs)


def _run(client: Any, run: Any, names: dict[UUID, str]) -> FlowRunStanding:
    state = run.state
    kind = str(getattr(state.type, "value", state.type)) if state else ""
    seconds = run.total_run_time.total_seconds() if run.total_run_time else 0.0
    if kind == "RUNNING" and run.estimated_run_time:
        seconds = run.estimated_run_time.total_seconds()
    message = (state.message or "").strip().splitlines() if state and kind in FINAL_BAD else []
    return FlowRunStanding(
        name=run.name,
        flow=names.get(run.flow_id, "?"),
        state=state.name if state else "unknown",
        begins=run.start_time or run.expected_start_time,
        seconds=seconds or None,
        progress=_progress(client, run.id) if kind == "RUNNING" else None,
        message=message[0] if message else "",
    )


def _progress(client: Any, run: UUID) -> float | None:
    """The newest progress artifact of a run, in percent."""
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterType

    found = client.read_artifacts(
        artifact_filter=ArtifactFilter(
            flow_run_id=ArtifactFilterFlowRunId(any_=[run]), type=ArtifactFilterType(any_=["progress"])
        )
    )
    newest = max(found, key=lambda one: one.updated or one.created, default=None)
    return float(newest.data) if newest is not None and newest.data is not None else None
