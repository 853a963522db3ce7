"""A scheduler that somebody else runs: real processes, one of which dies; TLS; what is refused and why."""

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flows import tally
from flows.clusters import schedulers
from flows.clusters.opening import cluster_of
from flows.clusters.schedulers import _version_faults, check_workers, existing, security_of
from flows.clusters.slurm import security_in
from flows.generate import Order
from flows.making import completed, prepare_workers
from flows.shards import Ticket
from flows.suspects import Suspects
from flows.tally import Tally
from flows.unattended import PASSING
from schemas.cluster import ExistingScheduler, TLSFiles
from schemas.errors import FlowError, LensmillError, RecipeError
from storage import commit, layout
from tests.dask_processes import DaskProcesses, dask_processes
from tests.flows.messages import one_message

BytesOf = Callable[[Path], dict[str, bytes]]


@pytest.fixture(scope="module")
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskProcesses]:
    """A scheduler without workers; a test that starts one ends it."""
    with dask_processes(tmp_path_factory.mktemp("dask")) as found:
        yield found


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for what will not come."""
    monkeypatch.setattr(schedulers, "CONNECT_SECONDS", 2.0)


def _at(address: str, **more: Any) -> ExistingScheduler:
    return ExistingScheduler(address=address, **more)


# -- the work, with a loss


def test_a_worker_dies_and_the_store_is_whole(
    dask: DaskProcesses,
    order_small: Callable[..., Order],
    make_store: Callable[[Order], None],
    tmp_path: Path,
    bytes_of: BytesOf,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tally, "create_progress_artifact", lambda **_: None)
    monkeypatch.setattr(tally, "update_progress_artifact", lambda *_, **__: None)
    order = order_small(tmp_path / "far.zarr", "samples_per_class=400")
    alone = replace(order, root=tmp_path / "alone.zarr")
    make_store(alone)
    commit.begin(order.root, order.recipe, order.plan)
    spans = list(layout.spans(order.plan))
    victim, survivor = dask.worker(), dask.worker()
    try:
        with cluster_of(_at(dask.address), len(spans)) as runner:
            check_workers(runner.client, order)
            prepare_workers(runner.client, order.ticket, mapped=True)
            with Tally(order, spans, lambda _: None) as seen:
                for made in completed(runner.client, order.ticket, spans, Suspects()):
                    if victim.poll() is None and seen.done:
                        assert seen.open, "the worker dies while there is work"
                        os.kill(victim.pid, signal.SIGKILL)
                        victim.wait(timeout=30)
                    seen.arrived(made)
                receipts = seen.receipts()
        assert survivor.poll() is None, "who started workers ends them, too"
    finally:
        for process in (victim, survivor):
            process.kill()
            process.wait(timeout=30)
    assert victim.returncode == -signal.SIGKILL
    commit.seal(order.root, order.recipe, order.plan, [receipts[span] for span in spans])
    assert bytes_of(order.root) == bytes_of(alone.root)


@pytest.mark.slow
def test_the_command_on_a_scheduler_that_loses_a_worker(
    dask: DaskProcesses,
    start: Callable[..., Any],
    lensmill: Callable[..., Any],
    tmp_path: Path,
    bytes_of: BytesOf,
) -> None:
    words = ["--set", "samples_per_class=3000", "--shard-size", "32", "--mapped"]
    victim, survivor = dask.worker(), dask.worker()
    try:
        far = start(
            "simulate", "tiny", "--out", tmp_path / "far.zarr", "--dask-address", dask.address, *words
        )
        far.wait_until(lambda: len(list((tmp_path / "far.zarr").glob("lensmill/receipts/*/*"))) > 5)
        victim.kill()
        said = far.wait()
        assert said.code == 0, said.err
        assert survivor.poll() is None
    finally:
        for process in (victim, survivor):
            process.kill()
            process.wait(timeout=30)
    here = start("simulate", "tiny", "--out", tmp_path / "here.zarr", "--workers", "1", *words).wait()
    assert here.code == 0, here.err
    assert bytes_of(tmp_path / "far.zarr") == bytes_of(tmp_path / "here.zarr")
    assert lensmill("verify", tmp_path / "far.zarr").code == 0


# -- what is refused


@pytest.mark.usefixtures("brief")
def test_nobody_listens() -> None:
    where = _at("tcp://127.0.0.1:1")
    with pytest.raises(FlowError, match="no Dask scheduler answers") as caught, existing(where):
        pass
    assert caught.value.where == where.address


@pytest.mark.usefixtures("brief")
def test_a_scheduler_that_was_there_before_may_be_back_soon(
    dask: DaskProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, empty = _at("tcp://127.0.0.1:1"), _at(dask.address, patience_minutes=0.001)
    monkeypatch.setattr(schedulers, "SEEN", set())
    for where in (gone, empty):
        with pytest.raises(FlowError) as caught, existing(where):
            pass
        assert not isinstance(caught.value, PASSING), "an address that may be wrong"
    monkeypatch.setattr(schedulers, "SEEN", {gone.address, empty.address})
    for where in (gone, empty):
        with pytest.raises(PASSING), existing(where):
            pass


@pytest.mark.usefixtures("brief")
def test_nobody_works(dask: DaskProcesses) -> None:
    where = _at(dask.address, patience_minutes=0.01)
    with pytest.raises(FlowError, match="has no workers") as caught, existing(where):
        pass
    assert f"dask_worker {dask.address}" in caught.value.advice


def test_a_worker_without_lensmill(dask: DaskProcesses, order: Order) -> None:
    worker = dask.worker(bare=True)
    try:
        with existing(_at(dask.address)) as runner, pytest.raises(FlowError, match="cannot load lensmill"):
            check_workers(runner.client, order)
    finally:
        worker.kill()
        worker.wait(timeout=30)


class Elsewhere(Order):
    """An order whose store the workers look for at another place."""

    @property
    def ticket(self) -> Ticket:
        """As on a machine that does not share our disk."""
        return replace(super().ticket, root="/nowhere/small.zarr")


class OfOther(Order):
    """An order whose path leads workers to another store."""

    @property
    def ticket(self) -> Ticket:
        """As on a machine with a store of its own at this path."""
        return replace(super().ticket, plan_digest="0" * 64)


def test_workers_that_cannot_make_these_shards(
    dask: DaskProcesses, order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = dask.worker()
    try:
        with existing(_at(dask.address)) as runner:
            assert dask.address in schedulers.SEEN
            check_workers(runner.client, order)
            for kind, told in ((Elsewhere, "does not see the store"), (OfOther, "0000, plan|has recipe")):
                other: Order = kind(order.root, order.recipe, order.plan)
                with pytest.raises(FlowError, match=told):
                    check_workers(runner.client, other)
            here = schedulers.versions_here(order.plan)
            newer = here | {"numpy": "99.0"}
            monkeypatch.setattr(schedulers, "versions_here", lambda _: newer)
            with pytest.raises(FlowError, match=f"numpy {here['numpy']}, here 99.0") as caught:
                check_workers(runner.client, order)
            assert caught.value.where == dask.address
    finally:
        worker.kill()
        worker.wait(timeout=30)


def _versions(python: str = "3.11.7.final.0", **packages: str) -> dict[str, Any]:
    alike = {"dask": "2026.8.0", "distributed": "2026.8.0", "cloudpickle": "3.1"}
    return {"host": {"python": python}, "packages": alike | packages}


def test_other_versions_are_told_by_name_and_counted() -> None:
    workers = {f"tcp://10.0.0.{number}:1": _versions(dask="2025.1.0") for number in range(3)}
    found = _version_faults(
        {"client": _versions(), "scheduler": _versions("3.12.1.final.0"), "workers": workers}
    )
    assert found == [
        "the scheduler: python 3.12, here 3.11",
        "the worker at tcp://10.0.0.0:1 and 2 more: dask 2025.1.0, here 2026.8.0",
    ]
    same = {"client": _versions(), "scheduler": _versions("3.11.9.final.0"), "workers": {"a": _versions()}}
    assert not _version_faults(same), "releases of the same Python understand each other"


# -- TLS


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> TLSFiles:
    """One key for all, as a run makes it."""
    return _certificates(tmp_path_factory.mktemp("certificates"))


def _certificates(folder: Path) -> TLSFiles:
    security_in(folder)
    return TLSFiles(
        **{name: str(folder / f"{name}.pem") for name in ("cert", "key")}, ca=str(folder / "ca_file.pem")
    )


@pytest.mark.usefixtures("brief")
def test_a_scheduler_with_tls(certificates: TLSFiles, tmp_path: Path) -> None:
    files = [("ca-file", certificates.ca), ("cert", certificates.cert), ("key", certificates.key)]
    options = [word for name, file in files for word in (f"--tls-{name}", file)]
    with dask_processes(tmp_path, "tls", options) as secured:
        secured.worker()
        with existing(_at(secured.address, tls=certificates)) as runner:
            assert runner.client.submit(len, "abc").result() == 3
            assert all(address.startswith("tls://") for address in runner.client.nthreads())
        plain = _at(secured.address.replace("tls://", "tcp://"))
        with pytest.raises(FlowError, match="no Dask scheduler answers") as caught, existing(plain):
            pass
        assert "TLS" in str(caught.value)
        (tmp_path / "others").mkdir()
        others = _at(secured.address, tls=_certificates(tmp_path / "others"))
        with pytest.raises(FlowError, match="no Dask scheduler answers") as caught, existing(others):
            pass
        assert "same authority" in caught.value.advice


def test_certificates_that_cannot_be_used(certificates: TLSFiles, tmp_path: Path) -> None:
    assert security_of(certificates).require_encryption
    for name in ("ca", "cert", "key"):
        with pytest.raises(RecipeError, match="cannot read") as caught:
            security_of(certificates.model_copy(update={name: str(tmp_path / "none.pem")}))
        assert name in caught.value.where
    broken = tmp_path / "broken.pem"
    broken.write_text("no certificate")
    with pytest.raises(LensmillError, match="cannot be used"):
        security_of(certificates.model_copy(update={"cert": str(broken)}))
    shown = tmp_path / "shown.pem"
    shown.write_bytes(Path(certificates.key).read_bytes())
    shown.chmod(0o640)
    with pytest.raises(RecipeError, match="others may read the private key") as caught:
        security_of(certificates.model_copy(update={"key": str(shown)}))
    assert "chmod 600" in caught.value.advice


def test_a_key_that_others_may_read_is_refused_before_anything_is_written(
    lensmill: Callable[..., Any], certificates: TLSFiles, tmp_path: Path
) -> None:
    shown = tmp_path / "shown.pem"
    shown.write_bytes(Path(certificates.key).read_bytes())
    shown.chmod(0o604)
    file = tmp_path / "mine.yaml"
    tls = f"{{ca: {certificates.ca}, cert: {certificates.cert}, key: {shown}}}"
    file.write_text(f"cluster: {{kind: scheduler, address: 'tls://127.0.0.1:9', tls: {tls}}}\n")
    said = lensmill("simulate", "tiny", "--out", tmp_path / "new.zarr", "--cluster", file)
    assert "others may read the private key" in one_message(said, 2)
    assert not (tmp_path / "new.zarr").exists()
