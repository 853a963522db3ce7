"""Kubernetes: the manifest that Dask's operator makes pods of, and what is said without a cluster."""

from pathlib import Path
from typing import Any

import pytest

from flows.catalogue import load_cluster
from flows.clusters.kubernetes import manifest
from flows.clusters.opening import cluster_of
from flows.clusters.worker_settings import worker_environment
from schemas.cluster import Kubernetes, Volume
from schemas.errors import FlowError

FULL = Kubernetes(
    kind="kubernetes",
    image="registry.example.org/lensmill:0.1.0",
    namespace="lenses",
    most_workers=32,
    cores=1.5,
    memory="4 GiB",
    env={"AWS_REGION": "eu-central-1"},
    secrets=("s3-credentials",),
    volumes=(Volume(claim="lenses", path="/lenses"),),
    service_account="worker",
    image_pull_secret="registry",  # noqa: S106 - a name
    node_selector={"kubernetes.io/arch": "amd64"},
    plaintext=True,
)


def _container(pod: dict[str, Any]) -> dict[str, Any]:
    (found,) = pod["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def test_the_specification_of_workers() -> None:
    made = manifest(FULL, "lensmill-1", 32)
    assert (made["kind"], made["metadata"]) == ("DaskCluster", {"name": "lensmill-1"})
    worker = made["spec"]["worker"]
    assert worker["replicas"] == 32
    container = _container(worker)
    assert container["image"] == FULL.image
    assert container["args"][:9] == [
        "python", "-m", "distributed.cli.dask_worker",
        "--nthreads", "2", "--memory-limit", str(4 * 2**30), "--death-timeout", "120",
    ]  # fmt: skip
    share = {"cpu": "1500m", "memory": str(4 * 2**30)}
    assert container["resources"] == {"requests": share, "limits": share}
    told = {one["name"]: one["value"] for one in container["env"]}
    assert told == worker_environment() | {"AWS_REGION": "eu-central-1"}
    assert container["envFrom"] == [{"secretRef": {"name": "s3-credentials"}}]
    (mount,) = container["volumeMounts"]
    (volume,) = worker["spec"]["volumes"]
    assert mount == {"name": volume["name"], "mountPath": "/lenses"}
    assert volume["persistentVolumeClaim"] == {"claimName": "lenses"}


def test_the_specification_of_the_scheduler() -> None:
    scheduler = manifest(FULL, "lensmill-1", 32)["spec"]["scheduler"]
    container = _container(scheduler)
    assert container["args"][0] == "dask-scheduler"
    assert container["resources"]["limits"] == {"cpu": "1", "memory": "2Gi"}
    assert "volumeMounts" not in container, "it never opens the store"
    assert "envFrom" not in container, "and needs no credentials"


@pytest.mark.parametrize("part", ["scheduler", "worker"])
def test_pods_may_do_little(part: str) -> None:
    pod = manifest(FULL, "lensmill-1", 32)["spec"][part]
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert pod["spec"]["serviceAccountName"] == "worker"
    assert pod["spec"]["imagePullSecrets"] == [{"name": "registry"}]
    assert pod["spec"]["nodeSelector"] == {"kubernetes.io/arch": "amd64"}
    allowed = _container(pod)["securityContext"]
    assert allowed == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def test_what_is_left_out_is_left_to_kubernetes() -> None:
    bare = Kubernetes(kind="kubernetes", image="lensmill", most_workers=2, plaintext=True)
    pod = manifest(bare, "lensmill-1", 2)["spec"]["worker"]["spec"]
    assert not {"serviceAccountName", "imagePullSecrets", "nodeSelector"} & set(pod)
    assert pod["volumes"] == []


def test_without_a_cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "kubeconfig").write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: none\n"
        "clusters: [{name: none, cluster: {server: 'http://127.0.0.1:1'}}]\n"
        "contexts: [{name: none, context: {cluster: none, user: none}}]\n"
        "users: [{name: none, user: {}}]\n"
    )
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    where = load_cluster(Path("kubernetes"), None)
    assert where is not None
    with pytest.raises(FlowError, match="Kubernetes made no Dask cluster") as caught, cluster_of(where, 3):
        pass
    assert "kubectl get daskclusters" in caught.value.advice
