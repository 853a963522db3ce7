"""Workers as pods of Kubernetes, through Dask's operator."""

import contextlib
import uuid
from collections.abc import Iterator
from typing import Any

import kr8s
from dask_kubernetes.operator import KubeCluster, make_cluster_spec
from prefect_dask.task_runners import DaskTaskRunner

from flows.clusters.schedulers import await_workers
from flows.clusters.worker_settings import THREADS_PER_WORKER, worker_environment
from schemas.cluster import Kubernetes, bytes_of
from schemas.errors import FlowError

ALONE_SECONDS = 120
CLUSTERS = "daskclusters.kubernetes.dask.org"
SCHEDULER = {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "2Gi"}}


@contextlib.contextmanager
def pods(where: Kubernetes, shards: int) -> Iterator[DaskTaskRunner]:
    """A task runner on pods for so many shards, once a worker is there; they end with it."""
    _need_operator(where)
    most = min(where.most_workers, shards)
    runner = DaskTaskRunner(
        cluster_class=KubeCluster,
        cluster_kwargs={
            "custom_cluster_spec": manifest(where, f"lensmill-{uuid.uuid4().hex[:8]}", most),
            "namespace": where.namespace,
            "resource_timeout": round(60 * where.patience_minutes),
            "quiet": True,
        },
        adapt_kwargs={"minimum": min(where.least_workers, most), "maximum": most},
    )
    with runner:
        await_workers(_begun(runner, where), where.patience_minutes, _nobody(where))
        yield runner


def _need_operator(where: Kubernetes) -> None:
    """Ask what Dask clusters there are, which takes kubectl's settings, the operator and the right to ask.

    A cluster that was begun and failed could not be tidied up.
    """
    try:
        list(kr8s.get(CLUSTERS, namespace=where.namespace))
    # whatever kr8s and httpx raise: none of it can be mended here
    except Exception as error:
        raise _refused(where, error) from error


def _begun(runner: DaskTaskRunner, where: Kubernetes) -> Any:
    try:
        return runner.client
    # the same, and what the operator's client raises
    except Exception as error:
        raise _refused(where, error) from error


def _refused(where: Kubernetes, error: Exception) -> FlowError:
    return FlowError(
        f"Kubernetes made no Dask cluster: {type(error).__name__}: {error}",
        expected="a cluster that kubectl reaches, with Dask's operator",
        where=f"namespace {where.namespace}",
        advice=f"try `kubectl get {CLUSTERS}`; docs/cluster.md has how the operator is installed",
    )


def _nobody(where: Kubernetes) -> FlowError:
    return FlowError(
        f"no pod began to work within {where.patience_minutes:g} minutes",
        expected="one worker at least",
        where=f"namespace {where.namespace}",
        advice="see `kubectl describe pods`: the image, claims, or room for them may be missing",
    )


def manifest(where: Kubernetes, name: str, workers: int) -> dict[str, Any]:
    """The `DaskCluster` that the operator makes pods of."""
    command = ["python", "-m", "distributed.cli.dask_worker", "--nthreads", str(THREADS_PER_WORKER)]
    command += ["--memory-limit", str(bytes_of(where.memory)), "--death-timeout", str(ALONE_SECONDS)]
    made: dict[str, Any] = make_cluster_spec(
        name=name,
        image=where.image,
        n_workers=workers,
        env=worker_environment() | where.env,
        resources=_resources(where),
        worker_command=command,
    )
    scheduler, worker = made["spec"]["scheduler"]["spec"], made["spec"]["worker"]["spec"]
    scheduler["containers"][0]["resources"] = SCHEDULER
    for pod in (scheduler, worker):
        _settle(pod, where)
    container = worker["containers"][0]
    container["envFrom"] = [{"secretRef": {"name": secret}} for secret in where.secrets]
    container["volumeMounts"] = [
        {"name": f"volume-{number}", "mountPath": one.path} for number, one in enumerate(where.volumes)
    ]
    worker["volumes"] = [
        {"name": f"volume-{number}", "persistentVolumeClaim": {"claimName": one.claim}}
        for number, one in enumerate(where.volumes)
    ]
    return made


def _settle(pod: dict[str, Any], where: Kubernetes) -> None:
    """Where a pod may run and as whom; it needs no token of the cluster's API."""
    pod["automountServiceAccountToken"] = False
    for container in pod["containers"]:
        container["securityContext"] = {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        }
    if where.service_account:
        pod["serviceAccountName"] = where.service_account
    if where.image_pull_secret:
        pod["imagePullSecrets"] = [{"name": where.image_pull_secret}]
    if where.node_selector:
        pod["nodeSelector"] = dict(where.node_selector)


def _resources(where: Kubernetes) -> dict[str, dict[str, str]]:
    """As much at most as was asked for, so that a node is never promised twice."""
    share = {"cpu": f"{round(1000 * where.cores)}m", "memory": str(bytes_of(where.memory))}
    return {"requests": share, "limits": dict(share)}
