"""Commands about the service: up, down, deployment run."""

from typing import Annotated

import typer

from flows.commands.app import FAILED, app, out
from schemas.errors import RecipeError
from schemas.reading import parse

deployment = typer.Typer(no_args_is_help=True, help="Run a deployment of the service.")
app.add_typer(deployment, name="deployment")


@app.command("up")
def up_command() -> None:
    """Start Prefect's server, a worker and all deployments on loopback.

    Example: `lensmill up`, then `lensmill deployment run simulate-and-train --watch`
    """
    from flows.service import home, up

    record = up()
    out.print(f"up: {record.address.removesuffix('/api')}", soft_wrap=True)
    out.print("user and password of its page: user:password in " + str(home() / "auth"), soft_wrap=True)
    out.print(f"for Prefect's own command: export PREFECT_HOME={home()}", soft_wrap=True)


@app.command("down")
def down_command() -> None:
    """Stop what `lensmill up` started, without leftovers.

    Example: `lensmill down`
    """
    from flows.service import down

    out.print("down" if down() else "nothing was up")


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
    from flows.service import run_deployment

    values = {}
    for parameter in parameters or []:
        key, equals, text = parameter.partition("=")
        if not equals:
            raise RecipeError(f"the parameter {parameter!r} is not of the form key=value", where="--param")
        values[key] = parse(text, f"--param {parameter}").value
    state = run_deployment(name, values, watch)
    out.print(state)
    if watch and not state.endswith("Completed"):
        raise typer.Exit(FAILED)
