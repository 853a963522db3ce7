"""A Dask scheduler that somebody else runs: reaching it, and whether its workers can do our work."""

import contextlib
import logging
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from distributed import Client
from distributed.comm.core import CommClosedError
from distributed.security import Security
from distributed.utils import silence_logging_cmgr
from distributed.versions import VersionMismatchWarning
from prefect_dask.task_runners import DaskTaskRunner

from flows.clusters.preconditions import check_files
from flows.shards import Order, look_around, versions_here
from schemas.cluster import ExistingScheduler, TLSFiles
from schemas.errors import ClusterLostError, FlowError, LensmillError, RecipeError, first_line

CONNECT_SECONDS = 20.0
LOOK_SECONDS = 0.5
# The addresses at which this process found a scheduler with workers.
SEEN: set[str] = set()
# What scheduler, workers and client must have alike to understand each other.
SPOKEN = ("dask", "distributed", "cloudpickle")
START = "in lensmill's environment, python -m distributed.cli.dask_worker {address} --nthreads 2"


@contextlib.contextmanager
def existing(where: ExistingScheduler) -> Iterator[DaskTaskRunner]:
    """A task runner on that scheduler, once a worker is there."""
    options: dict[str, Any] = {"timeout": CONNECT_SECONDS}
    if where.tls:
        options["security"] = security_of(where.tls)
    with (
        # that the scheduler went away is told once, by an error of ours; Dask's client logs how it tried
        silence_logging_cmgr(logging.CRITICAL),
        DaskTaskRunner(address=where.address, client_kwargs=options) as runner,
    ):
        await_workers(_reached(runner, where), where.patience_minutes, _nobody(where))
        SEEN.add(where.address)
        yield runner


def _away(where: ExistingScheduler) -> type[FlowError]:
    """Of a scheduler that was there before, with workers, the address is right: it may be started again."""
    return ClusterLostError if where.address in SEEN else FlowError


def security_of(files: TLSFiles) -> Security:
    """The certificates of a client."""
    check_files(files)
    security = Security(
        tls_ca_file=files.ca,
        tls_client_cert=files.cert,
        tls_client_key=files.key,
        require_encryption=True,
    )
    try:
        security.get_connection_args("client")
    except OSError as error:
        raise RecipeError(
            f"the certificates cannot be used: {error}",
            expected="PEM files, and a key that belongs to the certificate",
            where="cluster.tls",
        ) from error
    return security


def _reached(runner: DaskTaskRunner, where: ExistingScheduler) -> Client:
    try:
        # versions are compared below, in words of ours
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", VersionMismatchWarning)
            return runner.client
    except (OSError, ValueError) as error:
        advice = "start one, or mend the address; a scheduler that asks for TLS answers tls:// alone"
        if where.tls:
            advice = "start one, or mend the address; both ends need certificates of the same authority"
        # Dask's words for it are of sockets
        broken = isinstance(error, CommClosedError)
        said = "it breaks off, as one does that speaks TLS to one that does not" if broken else str(error)
        raise _away(where)(
            f"no Dask scheduler answers: {said}",
            expected="a scheduler that takes us in",
            where=where.address,
            advice=advice,
        ) from error


def await_workers(
    client: Client, minutes: float, nobody: FlowError, look: Callable[[], None] = lambda: None
) -> None:
    """Until a worker is there; `look` raises when it is clear that none will come."""
    deadline = time.monotonic() + 60 * minutes
    while not client.nthreads():
        look()
        if time.monotonic() > deadline:
            raise nobody
        time.sleep(LOOK_SECONDS)


def _nobody(where: ExistingScheduler) -> FlowError:
    return _away(where)(
        f"the scheduler has no workers, and none came within {60 * where.patience_minutes:.0f} s",
        expected="one worker at least",
        where=where.address,
        advice=f"start some: {START.format(address=where.address)}; or give patience_minutes in the file",
    )


def check_workers(client: Client, order: Order) -> None:
    """Refuse workers that would fail at, or spoil, every shard: other versions, no lensmill, no store."""
    versions: Any = client.get_versions()
    faults = _version_faults(versions) or _work_faults(client, order)
    if faults:
        raise FlowError(
            "the workers cannot make these shards:" + "".join(f"\n  - {fault}" for fault in faults),
            expected="python, packages and the store's path as they are here",
            where=str(client.scheduler_info()["address"]),
            advice="start scheduler and workers from the environment that runs this command, on machines"
            " where the store has the same path",
        )


def _version_faults(versions: dict[str, Any]) -> list[str]:
    """Whose Python or Dask differs from that of this process."""
    here = _spoken(versions["client"])
    found = {"the scheduler": versions["scheduler"]}
    found |= {f"the worker at {address}": worker for address, worker in versions["workers"].items()}
    return _by_fault({name: _differences(_spoken(one), here) for name, one in found.items() if one})


def _spoken(one: dict[str, Any]) -> dict[str, str]:
    python = ".".join(str(one["host"]["python"]).split(".")[:2])
    return {"python": python, **{name: str(one["packages"].get(name)) for name in SPOKEN}}


def _differences(found: dict[str, str], here: dict[str, str]) -> str:
    other = [f"{name} {found.get(name)}, here {here[name]}" for name in here if found.get(name) != here[name]]
    return "; ".join(other)


def _work_faults(client: Client, order: Order) -> list[str]:
    """Whose lensmill is missing or different, or who does not see the store."""
    here = versions_here(order.plan)
    faults = {}
    for address, found in client.run(look_around, order.ticket, on_error="return").items():
        if isinstance(found, dict):
            faults[f"the worker at {address}"] = _differences(found, here)
        elif isinstance(found, LensmillError | OSError):
            faults[f"the worker at {address}"] = f"it does not see the store: {first_line(found)}"
        else:
            faults[f"the worker at {address}"] = f"it cannot load lensmill: {found}"
    return _by_fault(faults)


def _by_fault(faults: dict[str, str]) -> list[str]:
    """A line for each fault with the first who has it; a thousand workers have it alike."""
    told: dict[str, list[str]] = {}
    for name, fault in faults.items():
        if fault:
            told.setdefault(fault, []).append(name)
    return [
        f"{names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''}: {fault}"
        for fault, names in told.items()
    ]
