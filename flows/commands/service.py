"""Commands about the service: up, down, deployment run."""

from typing import Annotated

import typer

from flows.commands.app import FAILED, app, err, out
from schemas.errors import RecipeError
from schemas.reading import parse

deployment = typer.Typer(no_args_is_help=True, help="Run a deployment of the service.")
app.add_typer(deployment, name="deployment")


@app.command("up")
def up_command(
    pool: Annotated[
        str | None,
        typer.Option(
            "--pool", metavar="NAME", help="Start only a worker for this pool, such as one of GPUs."
        ),
    ] = None,
) -> None:
    """Start Prefect's server, a worker and all deployments on loopback; again, it mends what died.

    With --pool the worker polls the server of PREFECT_API_URL, or the one that is up here.
    Example: `lensmill up`, then `lensmill deployment run simulate-and-train --watch`
    """
    from flows.serving.service import home, up, up_pool_here

    if pool is not None:
        worker = up_pool_here(pool)
        out.print(f"up: worker {worker.name} polls pool {pool} of {worker.address}", soft_wrap=True)
        return
    record = up()
    out.print(f"up: {record.address.removesuffix('/api')}", soft_wrap=True)
    out.print("user and password of its page: user:password in " + str(home() / "auth"), soft_wrap=True)
    out.print(f"for Prefect's own command: export PREFECT_HOME={home()}", soft_wrap=True)


@app.command("down")
def down_command(
    wait: Annotated[
        bool, typer.Option("--wait", help="Start nothing new and wait until all runs have ended.")
    ] = False,
) -> None:
    """Stop what `lensmill up` started, without leftovers. Runs at work are cancelled; the same resumes.

    Example: `lensmill down --wait`
    """
    from flows.serving.service import down

    ended = down(wait, lambda text: out.print(text, soft_wrap=True, highlight=False))
    for run in ended.runs if ended else ():
        out.print(f"cancelled: {run}", soft_wrap=True, highlight=False)
    for pool in ended.pools if ended else ():
        out.print(f"ended: the worker of pool {pool}", soft_wrap=True, highlight=False)
    out.print("down" if ended else "nothing was up")


@deployment.command("run")
def deployment_run_command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A deployment, such as simulate-and-train.")],
    parameters: Annotated[
        list[str] | None,
        typer.Option("--param", metavar="KEY=VALUE", help="A parameter of the flow; may be repeated."),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Wait until it has ended.")] = False,
) -> None:
    """Run a deployment; NAME alone means NAME/NAME, which is how Prefect calls it.

    Example: `lensmill deployment run simulate-and-train --param out=runs/first --watch`
    """
    from flows.serving.submission import run_deployment

    values = {}
    for parameter in parameters or []:
        key, equals, text = parameter.partition("=")
        if not equals:
            raise RecipeError(f"the parameter {parameter!r} is not of the form key=value", where="--param")
        values[key] = parse(text, f"--param {parameter}").value
    run = run_deployment(name, values, watch)
    out.print(f"{run.name}: {run.state}")
    if watch and run.state != "Completed":
        err.print(run.message, soft_wrap=True, highlight=False, markup=False)
        raise typer.Exit(FAILED)
