"""Workers that Dask gave up come back."""

import logging

import pytest
from distributed import Client, LocalCluster

from flows.clusters import upkeep
from flows.clusters.upkeep import kept_up


def test_a_worker_that_was_dropped_is_started_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "LOOK_SECONDS", 0.05)
    options = {"dashboard_address": "127.0.0.1:0", "silence_logs": logging.CRITICAL}
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, processes=False, **options) as cluster,
        Client(cluster, set_as_default=False) as client,
        kept_up(cluster, 1),
    ):
        # as Dask does it after its timeout
        (name,) = cluster.workers
        cluster.sync(cluster.workers.pop(name).close)
        assert client.submit(int, "7").result(timeout=60) == 7
        assert len(cluster.workers) == 1
