"""Cluster files: every kind, their bounds, and what is refused with its line."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from schemas.cluster import ClusterRecipe, bytes_of, is_loopback, seconds_of
from schemas.errors import RecipeError
from schemas.reading import read_recipe

SLURM = "kind: slurm, cores: 4, memory: 8 GiB, most_jobs: 2"
PODS = "kind: kubernetes, image: lensmill:1, most_workers: 4"
TLS = "tls: {ca: ca.pem, cert: cert.pem, key: key.pem}"


def _read(folder: Path, text: str) -> Any:
    path = folder / "cluster.yaml"
    path.write_text(f"cluster: {{{text}}}\n")
    return read_recipe(path, ClusterRecipe).cluster


@pytest.mark.parametrize(
    "text",
    [
        "kind: local",
        "kind: local, workers: 3, memory: 2 GB",
        "kind: scheduler, address: 'tcp://127.0.0.1:8786'",
        "kind: scheduler, address: 'tcp://[::1]:8786'",
        "kind: scheduler, address: 'tcp://localhost:8786'",
        "kind: scheduler, address: 'tcp://head:8786', plaintext: true",
        f"kind: scheduler, address: 'tls://head:8786', {TLS}",
        SLURM,
        f"{SLURM}, least_jobs: 0, processes: 2, walltime: '1-00:00:00', job_extra_directives: ['--qos=x y']",
        f"{PODS}, plaintext: true, volumes: [{{claim: lenses, path: /lenses}}], env: {{AWS_REGION: eu}}",
    ],
)
def test_what_is_taken(tmp_path: Path, text: str) -> None:
    cluster = _read(tmp_path, text)
    assert cluster.kind in text
    # as Prefect sends it to a flow
    assert ClusterRecipe.model_validate({"cluster": cluster.model_dump(mode="json")}).cluster == cluster


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("workers: 2", "kind"),
        ("kind: pbs", "kind"),
        ("kind: local, workers: 0", "workers"),
        ("kind: local, memory: 4", "memory"),
        ("kind: local, memory: 100 MB", "512 MB"),
        ("kind: local, cores: 2", "unknown key"),
        ("kind: scheduler, address: 'head:8786'", "address"),
        ("kind: scheduler, address: 'tcp://head:8786'", "plaintext: true"),
        ("kind: scheduler, address: 'tcp://10.0.0.7:8786'", "another machine"),
        ("kind: scheduler, address: 'tls://head:8786'", "needs `tls`"),
        (f"kind: scheduler, address: 'tcp://127.0.0.1:8786', {TLS}", "begins with tls://"),
        ("kind: slurm, cores: 4, memory: 8 GiB", "most_jobs"),
        (f"{SLURM}, processes: 5", "a worker needs one of its own"),
        ("kind: slurm, cores: 32, memory: 8 GiB, most_jobs: 2", "268 MB each"),
        (f"{SLURM}, least_jobs: 3", "more than most_jobs"),
        (f"{SLURM}, walltime: 4h", "walltime"),
        (f"{SLURM}, walltime: '00:00:30'", "over before"),
        (f"{SLURM}, queue: 'a; rm -rf'", "queue"),
        (f'{SLURM}, job_script_prologue: ["a\\nb"]', "job_script_prologue"),
        (f"{SLURM}, python: '/opt/my python'", "python"),
        (PODS, "plaintext"),
        (f"{PODS}, plaintext: false", "plaintext"),
        (f"{PODS}, plaintext: true, least_workers: 5", "more than most_workers"),
        (f"{PODS}, plaintext: true, namespace: Mine", "namespace"),
        (f"{PODS}, plaintext: true, volumes: [{{claim: a, path: b}}]", "path"),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(RecipeError) as caught:
        _read(tmp_path, text)
    assert told in str(caught.value)
    assert "line 1" in str(caught.value)
    assert "lensmill schema cluster" in caught.value.advice


def test_all_faults_of_a_file_are_told(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="3 faults") as caught:
        _read(tmp_path, "kind: slurm, cores: 0, memory: much, most_jobs: 2, queu: x")
    assert "did you mean 'queue'" in str(caught.value)


@pytest.mark.parametrize(
    ("size", "expected"),
    [("4 GiB", 4 * 2**30), ("4GB", 4 * 10**9), ("1.5 TB", 1.5e12), ("512MiB", 2**29), ("900 MB", 9e8)],
)
def test_sizes(size: str, expected: float) -> None:
    assert bytes_of(size) == expected


@pytest.mark.parametrize(
    ("walltime", "seconds"), [("00:30:00", 1800), ("04:00:00", 14_400), ("2-01:00:01", 2 * 86_400 + 3601)]
)
def test_walltimes(walltime: str, seconds: int) -> None:
    assert seconds_of(walltime) == seconds


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("tcp://127.0.0.1:1", True),
        ("tcp://127.9.9.9:1", True),
        ("tcp://[::1]:1", True),
        ("tls://localhost:1", True),
        ("tcp://0.0.0.0:1", False),
        ("tcp://localhost.example.org:1", False),
        ("tcp://10.1.2.3:1", False),
    ],
)
def test_what_loopback_is(address: str, expected: bool) -> None:
    assert is_loopback(address) == expected


def test_certificates_stay_paths() -> None:
    """The key itself has no place in parameters of a flow, which Prefect keeps."""
    inline = {"ca": "a", "cert": "b", "key": "-----BEGIN PRIVATE KEY-----\nabc"}
    with pytest.raises(ValidationError, match="key"):
        ClusterRecipe.model_validate(
            {"cluster": {"kind": "scheduler", "address": "tls://a:1", "tls": inline}}
        )
