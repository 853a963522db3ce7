"""What a cluster needs of this machine, looked at before anything is started or written."""

import shutil
import socket
from importlib.util import find_spec

import psutil

from schemas.cluster import AnyCluster, Kubernetes, Slurm
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
