"""How Dask's workers are to run, whoever starts them: their settings, and the same as an environment."""

from typing import Any

# one renders, the other writes and waits for the disk
THREADS_PER_WORKER = 2
SPAWN = "distributed.nanny.pre-spawn-environ."
WORKER_CONFIG: dict[str, Any] = {
    # Dask samples the stack a hundred times a second, which rendering threads wait for
    "distributed.worker.profile.enabled": False,
    # Nor is every process asked fifty times a second whether its loop turns, and twice what the machine does:
    # scheduler, nannies and workers spend a tenth of a core on it, which rendering needs.
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "5s",
    # Dask has workers give memory back at once. A shard's arrays are then new pages every time, which costs
    # a fifth of the rendering; shards are alike, so what one needed the next one needs.
    SPAWN + "MALLOC_TRIM_THRESHOLD_": 1 << 30,
    SPAWN + "MALLOC_MMAP_THRESHOLD_": 1 << 25,
    # Results are small, so there is nothing to spill, and a worker that paused would not wake: it keeps its
    # memory for the next shard. Over its limit it is ended and started anew.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
}


def worker_environment() -> dict[str, str]:
    """The settings for workers that are started elsewhere, in whose logs it is worth to read."""
    settings = {"DASK_LOGGING__DISTRIBUTED": "info"}
    for key, value in WORKER_CONFIG.items():
        if key.startswith(SPAWN):
            settings[key.removeprefix(SPAWN)] = str(value)
        else:
            settings["DASK_" + key.upper().replace(".", "__").replace("-", "_")] = str(value)
    return settings
