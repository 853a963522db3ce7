"""What a cluster needs of this machine, looked at before anything is started or written."""

import os
import shutil
import socket
import stat
from importlib.util import find_spec
from pathlib import Path

import psutil

from schemas.cluster import AnyCluster, ExistingScheduler, Kubernetes, Slurm, TLSFiles
from schemas.errors import FlowError, RecipeError

SLURM_COMMANDS = ("sbatch", "squeue", "scancel")


def check_cluster(where: AnyCluster) -> None:
    """Refuse a cluster that cannot be reached from here, whatever its state."""
    if isinstance(where, Slurm):
        _need_package("dask_jobqueue", "slurm")
        _need_commands()
        _need_interface(where.interface)
    elif isinstance(where, Kubernetes):
        _need_package("dask_kubernetes", "kubernetes")
    elif isinstance(where, ExistingScheduler) and where.tls:
        check_files(where.tls)


def check_files(files: TLSFiles) -> None:
    """Refuse certificates that cannot be read, and a key that others can read."""
    for name, file in files.model_dump().items():
        if not (Path(file).is_file() and os.access(file, os.R_OK)):
            raise RecipeError(
                f"cannot read {file}",
                expected="a PEM file",
                where=f"cluster.tls.{name}",
                advice="mend the path",
            )
    if stat.S_IMODE(Path(files.key).stat().st_mode) & 0o077:
        raise RecipeError(
            f"others may read the private key {files.key}",
            expected="a key that its owner alone can read",
            where="cluster.tls.key",
            advice=f"chmod 600 {files.key}; make a new one if somebody may have seen it",
        )


def _need_package(package: str, extra: str) -> None:
    if find_spec(package) is None:
        raise FlowError(
            f"a cluster of kind {extra!r} needs {package}",
            expected=f"the packages of the extra `{extra}`",
            advice=f"pip install -e '.[{extra}]' in the folder of the repository",
        )


def _need_commands() -> None:
    missing = [name for name in SLURM_COMMANDS if shutil.which(name) is None]
    if missing:
        raise FlowError(
            f"there is no {', '.join(missing)} here",
            expected="a machine from which jobs can be sent to SLURM",
            advice="run this on a login node, or in a job; elsewhere use another --cluster",
        )


def _need_interface(name: str | None) -> None:
    """Dask's scheduler takes the first IPv4 address of an interface."""
    there = sorted(
        one
        for one, addresses in psutil.net_if_addrs().items()
        if any(address.family == socket.AF_INET for address in addresses)
    )
    if name is not None and name not in there:
        raise RecipeError(
            f"this machine has no network interface {name!r} with an IPv4 address",
            expected=f"one of {', '.join(there)}",
            where="cluster.interface",
            advice="see `ip -br addr`; without the key, the address of this machine's name is used",
        )
