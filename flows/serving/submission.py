"""Runs of deployments, asked for at the command."""

import contextlib
import os
import time
from dataclasses import dataclass
from typing import Any

from flows.catalogue import load_experiment, load_recipe
from flows.serving.pools import ROOT
from flows.serving.service import client_environment, running
from schemas.errors import DataError, FlowError, first_line
from schemas.registry import unknown_name

LOOK_SECONDS = 1.0
# A machine that is started again is back by then, with a line for `lensmill up` in its crontab.
AWAY_MINUTES = 10.0
# from this answer on it is the server that fails, and not what it was asked
SERVERS_FAULT = 500
# Words for JSON Schema's types.
WORDS = {
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "nothing",
}
MOST_NAMES = 20


@dataclass(frozen=True)
class Submitted:
    """A run and the state that it was last seen in."""

    name: str
    state: str
    message: str = ""


def run_deployment(name: str, parameters: dict[str, Any], watch: bool) -> Submitted:
    """Start a deployment; its run with its last state with `watch`, else with its first.

    Parameters that the flow would refuse are refused here, and no run is made.
    """
    record = running()
    if record is None:
        raise FlowError("the service is not up", advice="start it: lensmill up")
    os.environ.update(client_environment(record.address))
    full = name if "/" in name else f"{name}/{name}"
    flow_run = _started(full, parameters)
    if watch:
        flow_run = _ended(flow_run)
    state = flow_run.state
    return Submitted(flow_run.name, state.name if state else "Scheduled", (state and state.message) or "")


# in both, after the environment: Prefect reads it when it is imported


def _started(full: str, parameters: dict[str, Any]) -> Any:
    from httpx import TransportError
    from prefect.client.orchestration import get_client
    from prefect.deployments import run_deployment as start
    from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

    try:
        with get_client(sync_client=True) as client:
            known = client.read_deployment_by_name(full)
        check_parameters(
            full, known.parameter_openapi_schema or {}, {**known.parameters, **parameters}, parameters
        )
        return start(full, parameters=parameters, timeout=0, as_subflow=False)
    except ObjectNotFound as error:
        raise FlowError(
            f"there is no deployment {full!r}", advice="`prefect deployment ls` lists them"
        ) from error
    except PrefectHTTPStatusError as error:
        if error.response.status_code >= SERVERS_FAULT:
            raise _silent(error, "no run was made, as far as is known") from error
        raise DataError(f"the deployment refused its parameters: {error}", where=full) from error
    except TransportError as error:
        raise _silent(error, "no run was made, as far as is known") from error


def _ended(flow_run: Any) -> Any:
    """The run once it has ended. A server that is started anew meanwhile is waited for."""
    from httpx import TransportError
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

    heard = time.monotonic()
    while True:
        try:
            with get_client(sync_client=True) as client:
                while not (flow_run.state and flow_run.state.is_final()):
                    time.sleep(LOOK_SECONDS)
                    flow_run = client.read_flow_run(flow_run.id)
                    heard = time.monotonic()
            return flow_run
        except ObjectNotFound as error:
            raise FlowError(f"the run {flow_run.name} is not there any more: it was deleted") from error
        except (TransportError, PrefectHTTPStatusError) as error:
            answer = getattr(getattr(error, "response", None), "status_code", SERVERS_FAULT)
            if answer < SERVERS_FAULT or time.monotonic() - heard > 60 * AWAY_MINUTES:
                raise _silent(error, f"the run {flow_run.name} may go on meanwhile") from error
        time.sleep(LOOK_SECONDS)


def _silent(error: Exception, meanwhile: str) -> FlowError:
    return FlowError(
        f"the service does not answer: {first_line(error)}; {meanwhile}",
        expected=f"a server that is back within {AWAY_MINUTES:g} minutes",
        advice="`lensmill up` starts what died; Prefect's page has all runs and their states",
    )


def check_parameters(
    deployment: str, schema: dict[str, Any], values: dict[str, Any], given: dict[str, Any]
) -> None:
    """Refuse what is not in the form, all of it at once, then recipes that cannot be read."""
    from prefect.utilities.schema_tools.validation import validate

    properties = schema.get("properties", {})
    for key in given:
        if key not in properties:
            raise unknown_name("parameter", key, properties)
    faults = [_fault(one) for one in validate(values, schema, allow_none_with_default=True)]
    # a name that is not shipped is told better where recipes are read
    if faults and not all(one.startswith(("  - recipe: '", "  - experiment")) for one in faults):
        raise _refused(deployment, faults)
    # the worker's runs work in that folder
    with contextlib.chdir(ROOT):
        _read_recipes(values)
    if faults:
        raise _refused(deployment, faults)


def _refused(deployment: str, faults: list[str]) -> DataError:
    return DataError(
        "the deployment refused its parameters\n" + "\n".join(faults),
        where=deployment,
        advice="docs/service.md lists all parameters; so does the form of `Custom run` on Prefect's page",
    )


def _read_recipes(values: dict[str, Any]) -> None:
    overrides = values.get("overrides") or []
    if "recipe" in values:
        load_recipe(values["recipe"], overrides)
    if "experiment" in values:
        load_experiment(values["experiment"], overrides)
    for experiment in values.get("experiments") or []:
        load_experiment(experiment)


def _fault(error: Any) -> str:
    """One fault by the parameter's name, what was found and what was expected."""
    if error.validator == "required":
        return f"  - {error.message.partition(' ')[0].strip(chr(39))}: missing"
    path = ".".join(str(part) for part in error.absolute_path)
    found = repr(error.instance)
    found = found if len(found) <= 60 else f"{found[:57]}..."
    return f"  - {path or 'parameters'}: {found}; expected {told_schema(error.schema)}"


def told_schema(schema: dict[str, Any]) -> str:
    """A JSON Schema in words: kinds, bounds, names to choose from."""
    if kinds := schema.get("anyOf"):
        return " or ".join(told_schema(kind) for kind in kinds)
    if reference := schema.get("$ref"):
        return f"a whole {reference.rpartition('/')[2]}"
    if names := schema.get("enum"):
        listed = ", ".join(map(str, names[:MOST_NAMES]))
        return f"one of {listed}"
    if "const" in schema:
        return repr(schema["const"])
    word = WORDS.get(schema.get("type", ""), "a value")
    if schema.get("title") == "file":
        word = "the path of a file"
    elif pattern := schema.get("pattern"):
        word += f" with {pattern}"
    if "items" in schema:
        word += f" of {told_schema(schema['items'])}"
    return word + _bounds(schema)


def _bounds(schema: dict[str, Any]) -> str:
    words = {
        "minimum": "from",
        "exclusiveMinimum": "above",
        "maximum": "to",
        "exclusiveMaximum": "below",
    }
    said = [f"{word} {schema[key]:,}" for key, word in words.items() if key in schema]
    return " " + " ".join(said) if said else ""
