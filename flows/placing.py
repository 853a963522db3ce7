"""Trainings and their evaluation where the experiment says: here, on another pool, on a Dask worker.

The flow that asks follows what runs elsewhere to its end. Only small records come back; weights and pages are
in the run folder, which all places see by the same path.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

from distributed import Client, wait
from distributed.comm.core import CommClosedError
from distributed.scheduler import KilledWorker
from prefect import get_run_logger
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId, WorkerFilter, WorkerFilterStatus
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelling

from flows.assess import evaluate_flow, show_report
from flows.catalogue import AnyExperiment, load_experiment
from flows.clusters.attendance import told_when_lost
from flows.clusters.opening import cluster_of
from flows.fitting import show_training, train_flow
from flows.trainings import evaluate_there, fit_there
from flows.unattended import persevering
from schemas.errors import FlowError
from schemas.placement import Here, OnDask, OnWorkPool, Placement
from schemas.report import Report
from schemas.run import RunRecord
from storage.files.place import local, place
from storage.reader import open_store

LOOK_SECONDS = 2.0
SAY_SECONDS = 60.0
LOGS_AT_ONCE = 200
# A run whose machine died stays Running for ever. Workers beat every half minute, at work or not; within an
# hour a machine is started again, or a worker, which runs may outlive.
LOST_MINUTES = 60.0
SPLIT = "test"
# As train.records.run_folder and train.evaluate name them; they cannot be asked where torch is not installed.
RECORD, REPORTS, REPORT, PAGE = "run.json", "reports", "report.json", "report.html"


def trained(where: Placement, experiment: AnyExperiment, data: str, out: str, quiet: bool) -> RunRecord:
    """The record of a finished training; a run folder that already holds it is kept."""
    if isinstance(where, Here):
        # dictionaries are what forms send, which the parameter's type does not say
        record: RunRecord = train_flow(experiment, data, out, quiet=quiet)  # type: ignore[arg-type]
        return record
    recipe = load_experiment(experiment)
    data, out = _everywhere(data, out)
    if isinstance(where, OnWorkPool):
        # whole: the file that it came from need not be there
        told = recipe.model_dump(mode="json")
        _on_pool(where, "train", {"experiment": told, "data": data, "out": out, "quiet": quiet})
        return RunRecord.model_validate_json((local(out) / RECORD).read_bytes())
    record = _on_dask(where, f"training {recipe.name}", fit_there, recipe.to_json(), data, out)
    show_training(record, out)
    return record


def measured(where: Placement, run: str, data: str) -> Report:
    """The report on the test split, made where the training was."""
    if isinstance(where, Here):
        report: Report = evaluate_flow(run, data)
        return report
    data, run = _everywhere(data, run)
    if isinstance(where, OnWorkPool):
        _on_pool(where, "evaluate", {"run": run, "data": data, "split": SPLIT})
        return Report.model_validate_json(_report_path(run, data, REPORT).read_bytes())
    report = _on_dask(where, f"measuring {run}", evaluate_there, run, data, SPLIT)
    show_report(report, _report_path(run, data, PAGE))
    return report


def page_of(run: str, data: str) -> str:
    """The page of a report on the test split."""
    return str(_report_path(run, data, PAGE))


def _report_path(run: str, data: str, name: str) -> Any:
    store = open_store(place(data))
    return local(run) / REPORTS / f"{store.origin.name}-{SPLIT}-{store.stored.digest[:8]}" / name


def _everywhere(data: str, out: str) -> tuple[str, str]:
    """Paths that mean the same to a process that works in another folder."""
    return str(place(data).absolute()), str(local(out).absolute())


# -- on a work pool


def _on_pool(where: OnWorkPool, flow: str, parameters: dict[str, Any]) -> None:
    """A run of a deployment on that pool, as a child of this run, followed to its end."""
    with get_client(sync_client=True) as client:
        _wait_for(where.wait_minutes, lambda: _workers(client, where.pool), _no_worker(where))
        deployment = _deployment_on(client, flow, where.pool)
        run: Any = run_deployment(deployment, parameters=parameters, timeout=0)
        with _cancelled_with_us(client, run.id):
            run = _follow(client, run, where)
    if not run.state.is_completed():
        # in its own words, which are ours
        raise FlowError(run.state.message or f"{flow} on pool {where.pool} ended as {run.state.name}")


def _workers(client: SyncPrefectClient, pool: str) -> bool:
    online = WorkerFilter(status=WorkerFilterStatus(any_=["ONLINE"]))
    with contextlib.suppress(ObjectNotFound):
        client.read_work_pool(pool)
        return bool(client.read_workers_for_work_pool(pool, online))
    return False


def _no_worker(where: OnWorkPool) -> tuple[str, str]:
    start = f"`lensmill up --pool {where.pool}` on its machine, with PREFECT_API_URL of this server"
    return f"no worker polls pool {where.pool}", f"start one: {start}"


def _wait_for(minutes: float, there: Callable[[], bool], missing: tuple[str, str]) -> None:
    """Until something is there; says now and then that it is not, and at last gives up."""
    began, said = time.monotonic(), 0.0
    what, advice = missing
    while not there():
        waited = time.monotonic() - began
        if waited > 60 * minutes:
            raise FlowError(
                f"{what} since {waited:.0f} s", expected=f"one within {minutes:g} minutes", advice=advice
            )
        if waited >= said:
            get_run_logger().warning("%s since %.0f s; %s", what, waited, advice)
            said = waited + SAY_SECONDS
        time.sleep(LOOK_SECONDS)


def _deployment_on(client: SyncPrefectClient, flow: str, pool: str) -> UUID:
    """The flow's deployment on another pool, made or brought up to date from its own one."""
    try:
        own = client.read_deployment_by_name(f"{flow}/{flow}")
    except ObjectNotFound as error:
        raise FlowError(
            f"this server has no deployment {flow}/{flow} that pool {pool} could run",
            where=str(client.api_url),
            advice="run the pipeline as a deployment of the service: lensmill up",
        ) from error
    return client.create_deployment(
        flow_id=own.flow_id,
        name=f"{flow}-{pool}",
        description=f"{flow} on pool {pool}; made by flows whose experiments are placed there.",
        tags=[*own.tags, pool],
        work_pool_name=pool,
        entrypoint=own.entrypoint,
        path=own.path,
        pull_steps=own.pull_steps,
        # with the limits that the deployment sets, such as that of an evaluation's minutes
        parameters=own.parameters,
        parameter_openapi_schema=own.parameter_openapi_schema,
        enforce_parameter_schema=own.enforce_parameter_schema,
    )


@contextlib.contextmanager
def _cancelled_with_us(client: SyncPrefectClient, run: UUID) -> Iterator[None]:
    """What we wait for must not go on for nobody when this run is ended or gives up."""
    try:
        yield
    except BaseException:
        client.set_flow_run_state(run, Cancelling(message="the flow that asked for it was ended"))
        raise


def _follow(client: SyncPrefectClient, run: FlowRun, where: OnWorkPool) -> FlowRun:
    """A run's states and log lines in our log, until it has ended or nobody can be at it any more."""
    log, told, state = get_run_logger(), 0, ""
    alive = time.monotonic()
    while True:
        run = client.read_flow_run(run.id)
        lines = _tell_log(client, run.id, told, where.pool)
        told += lines
        if run.state and run.state.name != state:
            state = run.state.name or ""
            log.info("%s on pool %s: %s", run.name, where.pool, state)
        if run.state and run.state.is_final():
            return run
        begun = run.state is not None and run.state.is_running()
        if lines or _workers(client, where.pool):
            alive = time.monotonic()
        elif time.monotonic() - alive > 60 * (LOST_MINUTES if begun else where.wait_minutes):
            raise _lost(run, where, begun, time.monotonic() - alive)
        time.sleep(LOOK_SECONDS)


def _lost(run: FlowRun, where: OnWorkPool, begun: bool, seconds: float) -> FlowError:
    what, advice = _no_worker(where)
    if begun:
        what = f"{what} and the run says nothing"
        advice = f"see whether its machine lives; {advice}; then the same again, which goes on from there"
    return FlowError(f"{what} since {seconds:.0f} s", where=run.name, advice=advice)


def _tell_log(client: SyncPrefectClient, run: UUID, told: int, pool: str) -> int:
    """Lines of another run that were not told yet; how many there were."""
    of_run = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run]))
    lines = client.read_logs(of_run, limit=LOGS_AT_ONCE, offset=told)
    for line in lines:
        get_run_logger().log(line.level, "%s| %s", pool, line.message)
    return len(lines)


# -- on a Dask worker


@persevering
def _on_dask(where: OnDask, what: str, function: Callable[..., Any], *arguments: str) -> Any:
    """What a function gives on a worker that offers the resource. We wait here, never in a worker."""
    kept = "a training goes on from its last checkpoint"
    with (
        cluster_of(where.scheduler, 1) as runner,
        told_when_lost(runner.client, f"{what} was under way", kept),
    ):
        client: Client = runner.client
        _wait_for(where.wait_minutes, lambda: _offered(client, where), _no_resource(where))
        future = client.submit(
            function, *arguments, resources={where.resource: where.amount}, pure=False, key=_key(what)
        )
        try:
            return _result(client, future, what, where)
        except BaseException:
            # the worker's training asks whether it is still wanted
            future.cancel()
            raise


def _key(what: str) -> str:
    return f"{what}-{time.time_ns()}"


def _offered(client: Client, where: OnDask) -> bool:
    known = client.scheduler_info(n_workers=-1)
    if "workers" not in known:
        # Dask's client raises nothing when its scheduler is gone: it knows less
        raise CommClosedError(f"{where.scheduler.address} does not answer")
    workers = known["workers"].values()
    return any(one["resources"].get(where.resource, 0) >= where.amount for one in workers)


def _no_resource(where: OnDask) -> tuple[str, str]:
    resource = f"{where.resource}={where.amount:g}"
    start = f"dask worker {where.scheduler.address} --resources {resource}"
    return f"no worker of {where.scheduler.address} offers {resource}", f"start one: `{start}`"


def _result(client: Client, future: Any, what: str, where: OnDask) -> Any:
    began, said = time.monotonic(), SAY_SECONDS
    alone = began
    get_run_logger().info("%s: submitted to %s", what, where.scheduler.address)
    while not future.done():
        with client.as_current(), contextlib.suppress(TimeoutError):
            wait([future], LOOK_SECONDS)
        waited = time.monotonic() - began
        if _offered(client, where):
            alone = time.monotonic()
        elif time.monotonic() - alone > 60 * where.wait_minutes:
            missing, advice = _no_resource(where)
            raise FlowError(f"{missing} since {time.monotonic() - alone:.0f} s", where=what, advice=advice)
        if waited >= said:
            said = waited + SAY_SECONDS
            at = ", ".join(client.who_has([future]).get(future.key, ())) or "its worker"
            get_run_logger().info("%s: %.0f min at %s", what, waited / 60, at)
    try:
        return future.result()
    except KilledWorker as error:
        raise FlowError(
            f"{what} was given up after its worker died {error.allowed_failures + 1} times",
            advice="a worker that dies is mostly out of memory: lower training.batch_size; the same again"
            " goes on from the last checkpoint",
        ) from error
