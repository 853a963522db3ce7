"""All of it by one command: a Prefect server, workers and the packages for training get ready side by side.

Prefect and torch are loaded late, while the server and the workers start.
"""

import contextlib
from pathlib import Path

from flows.clusters.local import Workers, chosen
from flows.experiments import check_experiments, data_path
from flows.orders import prepare
from flows.serving.api import prefect_api
from flows.shards import modules_of
from flows.simulating import check_missing, get_ready
from flows.summary import PipelineSummary
from schemas.cluster import AnyCluster
from schemas.placement import Here
from storage.files.place import local


def run(
    recipe: str,
    experiments: list[str],
    out: str | Path,
    workers: Workers = None,
    shard_size: int | None = None,
    overrides: list[str] | None = None,
    quiet: bool = False,
    audit: bool = False,
    cluster: AnyCluster | None = None,
) -> PipelineSummary:
    """Simulate a data set, train each experiment on it and measure it on the test split.

    Everything goes below `out`; what is there and whole is kept, so the same command resumes. With `audit`
    nothing is trained on data that give the labels away.
    """
    loaded = check_experiments(experiments)
    order = prepare(recipe, data_path(local(out), recipe), shard_size, overrides or [])
    where = chosen(cluster, workers)
    check_missing(order, where)

    def meanwhile() -> None:
        get_ready(order, where, modules_of(None), quiet, started)
        import flows.pipeline  # noqa: F401

        if any(isinstance(one.placement, Here) for one in loaded):
            import train.evaluate
            import train.fit  # noqa: F401 - seconds of torch and of what draws pages

    with contextlib.ExitStack() as started, prefect_api(meanwhile):
        from flows.pipeline import pipeline_flow

        return pipeline_flow(
            recipe, list(experiments), str(out), workers, shard_size, overrides, quiet, audit, cluster
        )
