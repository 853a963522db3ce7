"""Where trainings run: following what runs elsewhere."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from distributed import Client, Scheduler, SpecCluster, Worker
from distributed.client import FutureCancelledError
from prefect.exceptions import ObjectNotFound
from prefect.states import Completed, Failed, Pending, Running, State

from flows import placing, unattended
from flows.trainings import demand
from schemas.cluster import ExistingScheduler
from schemas.errors import ClusterLostError, DataError, FlowError
from schemas.placement import OnDask, OnWorkPool
from tests.flows.run_logs import RunLog
from train import evaluate
from train.records import run_folder
from train.report import numbers

POOL = OnWorkPool(pool="gpu", wait_minutes=0.001)
SCHEDULER = ExistingScheduler(address="tcp://127.0.0.1:9")


def test_files_are_named_as_the_training_names_them() -> None:
    assert placing.RECORD == run_folder.RECORD
    assert placing.REPORTS == run_folder.REPORTS
    source = Path(str(numbers.__file__)).parent.parent / "evaluate.py"
    assert f'"{placing.REPORT}"' in source.read_text()


def test_the_page_is_where_an_evaluation_puts_it(sound_store: Any, tmp_path: Path) -> None:
    report = SimpleNamespace(
        store_recipe=sound_store.recipe.name, split="test", store_digest=sound_store.recipe.digest
    )
    folder = evaluate.report_folder(tmp_path, report)  # type: ignore[arg-type]
    assert placing.page_of(str(tmp_path), str(sound_store.root)) == str(folder / "report.html")


# -- on a pool


class _Server:
    """A server with a pool, its workers and one run that goes through states."""

    def __init__(self, states: list[State[Any]], workers: int = 1, pool: bool = True) -> None:
        self.states, self.workers, self.pool = states, workers, pool
        self.lines = [SimpleNamespace(level=20, message="epoch 1"), SimpleNamespace(level=30, message="slow")]
        self.cancelled: list[str] = []
        self.deployed: dict[str, Any] = {}
        self.api_url = "http://127.0.0.1:9/api"

    def __enter__(self) -> "_Server":
        return self

    def __exit__(self, *_: object) -> None: ...

    def read_work_pool(self, _: str) -> None:
        if not self.pool:
            raise ObjectNotFound(http_exc=Exception())

    def read_workers_for_work_pool(self, *_: object) -> list[int]:
        assert self.pool
        return [1] * self.workers

    def read_deployment_by_name(self, _: str) -> Any:
        if self.deployed.get("none"):
            raise ObjectNotFound(http_exc=Exception())
        keys = ("parameters", "flow_id", "entrypoint", "path", "pull_steps", "parameter_openapi_schema")
        own = dict.fromkeys(keys) | {"parameters": {"timeout_minutes": 120}}
        return SimpleNamespace(tags=["model"], enforce_parameter_schema=True, **own)

    def create_deployment(self, **how: Any) -> Any:
        self.deployed = how
        return uuid4()

    def read_flow_run(self, _: object) -> Any:
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        return SimpleNamespace(id=uuid4(), name="busy-bee", state=state)

    def read_logs(self, _: object, limit: int, offset: int) -> list[Any]:
        return self.lines[offset : offset + limit]

    def set_flow_run_state(self, _: object, state: State[Any]) -> None:
        self.cancelled.append(str(state.name))


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What our run says; nothing is waited for."""
    lines: list[str] = []

    class Log:
        def log(self, _: int, text: str, *values: object) -> None:
            lines.append(text % values)

        def info(self, text: str, *values: object) -> None:
            lines.append(text % values)

        warning = info

    monkeypatch.setattr(placing, "get_run_logger", Log)
    monkeypatch.setattr(placing, "LOOK_SECONDS", 0.01)
    return lines


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Callable[[_Server], None]:
    """Let that server be the one that answers."""

    def serve(server: _Server) -> None:
        monkeypatch.setattr(placing, "get_client", lambda **_: server)
        monkeypatch.setattr(placing, "run_deployment", lambda *_, **__: server.read_flow_run(0))

    return serve


def test_a_run_on_a_pool_is_followed_to_its_end(said: list[str], served: Callable[[_Server], None]) -> None:
    server = _Server([Pending(), Pending(), Running(), Running(), Completed()])
    served(server)
    placing._on_pool(POOL, "train", {})
    assert said == [
        "gpu| epoch 1",
        "gpu| slow",
        "busy-bee on pool gpu: Pending",
        "busy-bee on pool gpu: Running",
        "busy-bee on pool gpu: Completed",
    ]
    assert server.deployed["name"] == "train-gpu"
    assert server.deployed["work_pool_name"] == "gpu"
    assert server.deployed["tags"] == ["model", "gpu"]
    assert server.deployed["parameters"] == {"timeout_minutes": 120}, (
        "the limits of the flow's own deployment"
    )
    assert not server.cancelled


def test_a_child_that_fails_fails_us_in_its_own_words(
    said: list[str], served: Callable[[_Server], None]
) -> None:
    words = str(DataError("found", expected="other", where="there", advice="do"))
    served(server := _Server([Running(), Failed(message=words)]))
    with pytest.raises(FlowError) as caught:
        placing._on_pool(POOL, "train", {})
    assert str(caught.value) == words
    assert not server.cancelled


@pytest.mark.parametrize("pool", [True, False])
def test_a_pool_that_nobody_polls_is_told(
    said: list[str], served: Callable[[_Server], None], pool: bool
) -> None:
    served(server := _Server([Pending()], workers=0, pool=pool))
    with pytest.raises(FlowError, match=r"no worker polls pool gpu since \d+ s") as caught:
        placing._on_pool(POOL, "train", {})
    assert "lensmill up --pool gpu" in caught.value.advice
    assert said[0].startswith("no worker polls pool gpu since 0 s; start one")
    assert not server.deployed
    assert not server.cancelled


def test_a_worker_that_goes_before_it_began_is_not_waited_for_ever(
    said: list[str], served: Callable[[_Server], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    served(server := _Server([Pending()]))
    monkeypatch.setattr(placing, "_wait_for", lambda *_: setattr(server, "workers", 0))
    with pytest.raises(FlowError, match="no worker polls pool gpu"):
        placing._on_pool(POOL, "train", {})
    assert server.cancelled == ["Cancelling"]


def test_a_run_whose_machine_died_is_not_waited_for_ever(
    said: list[str], served: Callable[[_Server], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    served(server := _Server([Running()]))
    monkeypatch.setattr(placing, "LOST_MINUTES", 0.001)
    monkeypatch.setattr(placing, "_wait_for", lambda *_: setattr(server, "workers", 0))
    patient = POOL.model_copy(update={"wait_minutes": 1000.0})
    with pytest.raises(FlowError, match="no worker polls pool gpu and the run says nothing since") as caught:
        placing._on_pool(patient, "train", {})
    assert "see whether its machine lives" in caught.value.advice
    assert server.cancelled == ["Cancelling"]


def test_a_run_that_outlives_its_worker_is_followed(
    said: list[str], served: Callable[[_Server], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    served(server := _Server([*[Running()] * 20, Completed()]))
    monkeypatch.setattr(placing, "LOST_MINUTES", 0.001)
    monkeypatch.setattr(placing, "_wait_for", lambda *_: setattr(server, "workers", 0))
    # each look finds a line that was not there before
    monkeypatch.setattr(server, "read_logs", lambda *_, **__: server.lines[:1])
    placing._on_pool(POOL, "train", {})
    assert not server.cancelled


def test_a_child_is_cancelled_with_us(
    said: list[str], served: Callable[[_Server], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended(*_: object) -> Any:
        raise KeyboardInterrupt

    served(server := _Server([Running()]))
    monkeypatch.setattr(placing, "_follow", ended)
    with pytest.raises(KeyboardInterrupt):
        placing._on_pool(POOL, "train", {})
    assert server.cancelled == ["Cancelling"]


def test_a_server_without_deployments_is_told(said: list[str], served: Callable[[_Server], None]) -> None:
    served(server := _Server([Completed()]))
    server.deployed = {"none": True}
    with pytest.raises(FlowError, match="no deployment train/train that pool gpu") as caught:
        placing._on_pool(POOL, "train", {})
    assert "lensmill up" in caught.value.advice


# -- on Dask


@pytest.fixture(scope="module")
def scheduler() -> Iterator[SpecCluster]:
    """Two workers in this process, one of which has a GPU, it says."""
    here = {"host": "127.0.0.1", "dashboard": False, "dashboard_address": "127.0.0.1:0"}
    workers = {
        name: {"cls": Worker, "options": {"nthreads": 1, "resources": resources, **here}}
        for name, resources in (("plain", {}), ("gpu", {"GPU": 1}))
    }
    with SpecCluster(workers=workers, scheduler={"cls": Scheduler, "options": here}) as cluster:
        yield cluster


@pytest.fixture
def on_dask(
    scheduler: SpecCluster, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> Iterator[Callable[..., Any]]:
    """Run a function on that cluster."""
    # as a flow has it: not the one that is found without being named
    with Client(scheduler, set_as_default=False) as client:

        @contextlib.contextmanager
        def cluster_of(*_: object) -> Iterator[Any]:
            yield SimpleNamespace(client=client)

        monkeypatch.setattr(placing, "cluster_of", cluster_of)

        def run(function: Callable[..., Any], *arguments: str, **how: Any) -> Any:
            where = OnDask(scheduler=SCHEDULER, wait_minutes=0.001, **how)
            return placing._on_dask(where, "training quick", function, *arguments)

        yield run


def _where(_: str) -> str:
    from distributed import get_worker

    return str(get_worker().name)


def _refuse(text: str) -> None:
    raise DataError(text, advice="mend it")


def test_it_runs_on_the_worker_with_the_resource(on_dask: Callable[..., Any]) -> None:
    assert {on_dask(_where, "") for _ in range(4)} == {"gpu"}


def test_errors_come_home(on_dask: Callable[..., Any]) -> None:
    with pytest.raises(DataError, match="no such class") as caught:
        on_dask(_refuse, "no such class")
    assert caught.value.advice == "mend it"


@pytest.mark.parametrize("how", [{"resource": "TPU"}, {"amount": 2.0}])
def test_a_resource_that_nobody_offers_is_told(on_dask: Callable[..., Any], how: dict[str, Any]) -> None:
    with pytest.raises(FlowError, match=r"no worker of tcp://127.0.0.1:9 offers (TPU=1|GPU=2)") as caught:
        on_dask(_where, "", **how)
    assert "dask worker tcp://127.0.0.1:9 --resources" in caught.value.advice


# long enough for every machine; without it a failure would be a test that hangs
MOST_SECONDS = 60


def _train(folder: str) -> None:
    wanted = demand()
    Path(folder, "begun").touch()
    deadline = time.monotonic() + MOST_SECONDS
    while wanted():
        if time.monotonic() > deadline:
            return
        time.sleep(0.01)
    Path(folder, "ended").touch()


def _seen(file: Path) -> bool:
    deadline = time.monotonic() + MOST_SECONDS
    while not file.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    return file.exists()


def test_a_training_ends_with_the_flow_that_asked_for_it(
    on_dask: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> None:
        assert _seen(tmp_path / "begun")
        assert not (tmp_path / "ended").exists(), "while somebody waits it goes on"
        raise KeyboardInterrupt

    monkeypatch.setattr(placing, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        on_dask(_train, str(tmp_path))
    assert _seen(tmp_path / "ended")


def test_a_training_ends_when_the_flow_died(scheduler: SpecCluster, tmp_path: Path) -> None:
    with Client(scheduler, set_as_default=False) as client:
        future = client.submit(_train, str(tmp_path), resources={"GPU": 1}, pure=False)
        assert _seen(tmp_path / "begun")
    assert _seen(tmp_path / "ended")
    del future


def test_a_worker_that_is_lost_for_good_is_told(
    on_dask: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placing, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(placing, "_offered", lambda *_: not (tmp_path / "begun").exists())
    with pytest.raises(FlowError, match=r"no worker of tcp://127.0.0.1:9 offers GPU=1 since \d+ s") as caught:
        on_dask(_train, str(tmp_path))
    assert caught.value.where == "training quick"
    assert _seen(tmp_path / "ended")


@pytest.mark.parametrize("step", ["wait", "_offered"])
def test_a_scheduler_that_is_lost_is_one_error(
    on_dask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def lost(*_: Any) -> None:
        raise FutureCancelledError("training", "scheduler-connection-lost")

    monkeypatch.setattr(placing, step, lost)
    with pytest.raises(ClusterLostError, match="went away while training quick was under way") as caught:
        on_dask(_where, "")
    assert "last checkpoint" in caught.value.advice


def test_a_client_that_knows_nothing_has_lost_its_scheduler(
    on_dask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Client, "scheduler_info", lambda *_, **__: {"type": "Scheduler", "id": None})
    with pytest.raises(ClusterLostError):
        on_dask(_where, "")


def test_a_run_that_nobody_watches_asks_again_after_a_lost_scheduler(
    on_dask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    offered = placing._offered

    def once(*arguments: Any) -> bool:
        calls.append(1)
        if len(calls) == 1:
            raise FutureCancelledError("training", "scheduler-connection-lost")
        return offered(*arguments)

    log = RunLog()
    monkeypatch.setenv(unattended.STARTED_BY_A_WORKER, "0")
    monkeypatch.setattr(unattended, "PAUSES_SECONDS", (0.0,))
    monkeypatch.setattr(unattended, "get_run_logger", lambda: log)
    monkeypatch.setattr(placing, "_offered", once)
    assert on_dask(_where, "") == "gpu"
    assert log.lines[0].startswith("ClusterLostError: the Dask scheduler at ")
