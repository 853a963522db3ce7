"""What Prefect's page asks for: descriptions, bounds, examples; and what the flows make of what it sends."""

import json
from typing import Any

import pytest
from prefect import Flow
from prefect.exceptions import ParameterTypeError
from prefect.utilities.schema_tools.validation import validate

from flows.assess import evaluate_flow
from flows.catalogue import load_experiment, load_recipe, shipped
from flows.fitting import train_flow
from flows.generate import simulate_flow
from flows.pipeline import pipeline_flow
from flows.regenerate import regenerate_flow
from flows.verifying import verify_all_flow
from schemas.cluster import ExistingScheduler, LocalWorkers
from schemas.errors import RecipeError

FLOWS: dict[str, Flow[Any, Any]] = {
    flow.name: flow
    for flow in (
        simulate_flow,
        train_flow,
        evaluate_flow,
        pipeline_flow,
        regenerate_flow,
        verify_all_flow,
    )
}
NEEDED = {
    "simulate": {"recipe": "tiny", "out": "tiny.zarr"},
    "train": {"experiment": "classify_tiny", "data": "tiny.zarr", "out": "run"},
    "evaluate": {"run": "run", "data": "tiny.zarr"},
    "simulate-and-train": {},
    "regenerate": {"recipe": "tiny", "folder": "tiny"},
    "verify-all": {},
}


def _schema(name: str) -> dict[str, Any]:
    return FLOWS[name].parameters.model_dump_for_openapi()


def _faults(name: str, **values: Any) -> list[str]:
    return [fault.json_path for fault in validate({**NEEDED[name], **values}, _schema(name))]


@pytest.mark.parametrize("name", FLOWS)
def test_every_parameter_says_what_it_is(name: str) -> None:
    schema = _schema(name)
    assert set(schema.get("required", [])) == set(NEEDED[name])
    for key, about in schema["properties"].items():
        assert about["description"].endswith("."), key
        kinds = about.get("anyOf", [about])
        assert all({"type", "enum", "$ref"} & set(kind) for kind in kinds), (key, kinds)
        if not any(kind.get("type") == "boolean" for kind in kinds):
            examples = about.get("examples") or about.get("enum")
            assert examples, key
            assert all(not _faults(name, **{key: example}) for example in examples), key


@pytest.mark.parametrize("name", FLOWS)
def test_alternatives_are_ones_that_the_page_can_draw(name: str) -> None:
    text = json.dumps(_schema(name))
    assert '"oneOf"' not in text
    assert '"discriminator"' not in text
    schema = _schema(name)
    refers = {word.partition('"')[0] for word in text.split('"#/definitions/')[1:]}
    assert refers <= set(schema.get("definitions", {}))


@pytest.mark.parametrize("name", FLOWS)
def test_constants_are_ones_that_the_page_sends(name: str) -> None:
    """It leaves out those without a default, and one that is true it shows switched off for good."""
    definitions = _schema(name).get("definitions", {}).values()
    constants = [one for about in definitions for one in about["properties"].values() if "const" in one]
    assert constants or name == "evaluate"
    assert [one["const"] for one in constants] == [one.get("default") for one in constants]
    assert all(isinstance(one["const"], str) for one in constants)


@pytest.mark.parametrize(
    ("kind", "typed"),
    [
        ("LocalWorkers", {"workers": 1}),
        ("ExistingScheduler", {"address": "tcp://127.0.0.1:1"}),
        ("Slurm", {"cores": 2, "memory": "4 GiB", "most_jobs": 1}),
        ("Kubernetes", {"image": "me/lensmill:1", "most_workers": 2, "plaintext": True}),
    ],
)
def test_what_is_typed_into_a_tab_is_a_cluster(kind: str, typed: dict[str, Any]) -> None:
    fields = _schema("simulate")["definitions"][kind]["properties"]
    sent = {key: one["default"] for key, one in fields.items() if "default" in one} | typed
    assert not _faults("simulate", cluster=sent)
    given = simulate_flow.validate_parameters({**NEEDED["simulate"], "cluster": sent})["cluster"]
    assert type(given).__name__ == kind
    assert {key: getattr(given, key) for key in typed} == typed
    if "plaintext" in typed:
        assert _faults("simulate", cluster=sent | {"plaintext": False})


@pytest.mark.parametrize("kind", ["recipe", "experiment"])
def test_shipped_names_are_a_list_to_choose_from(kind: str) -> None:
    schema = _schema("simulate" if kind == "recipe" else "train")
    names, file, whole = schema["properties"][kind]["anyOf"]
    assert names["enum"] == sorted(shipped(kind))
    assert file["pattern"]
    assert whole["$ref"].endswith("Recipe")


BAD = [
    ("simulate", "workers", 0),
    ("simulate", "workers", "many"),
    ("simulate", "shard_size", 0),
    ("simulate", "recipe", "tinny"),
    ("simulate", "recipe", 3),
    ("simulate", "recipe", {"name": "mine"}),
    ("simulate", "overrides", ["seed"]),
    ("simulate", "overrides", "seed=1"),
    ("simulate", "cluster", {"kind": "scheduler", "address": "localhost"}),
    ("simulate", "cluster", {"kind": "moon"}),
    ("simulate", "out", ""),
    ("simulate-and-train", "experiments", []),
    ("simulate-and-train", "experiments", ["classify_tinny"]),
    ("evaluate", "split", "tset"),
    ("evaluate", "timeout_minutes", 0),
]


@pytest.mark.parametrize(("name", "key", "value"), BAD, ids=str)
def test_bad_values_are_refused_by_the_form(name: str, key: str, value: Any) -> None:
    paths = _faults(name, **{key: value})
    assert paths
    assert all(path.startswith(f"$.{key}") for path in paths)


def test_a_path_is_none_of_the_names() -> None:
    for path in ("mine.yaml", "/data/mine", "./tiny.yml"):
        assert not _faults("simulate", recipe=path)


# -- what is sent


def test_a_whole_recipe_is_the_same_data_set_as_its_file() -> None:
    told = load_recipe("tiny").model_dump(mode="json")
    assert not _faults("simulate", recipe=told)
    given = simulate_flow.validate_parameters({"recipe": told, "out": "a.zarr"})
    assert load_recipe(given["recipe"]).digest == load_recipe("tiny").digest
    assert load_recipe(given["recipe"], ["seed=7"]).seed == 7
    assert load_recipe(load_recipe("tiny")).digest == load_recipe("tiny").digest
    assert load_recipe(given["recipe"]).seed != 7, "an override must not stay in what was sent"


def test_a_whole_experiment_is_the_same_as_its_file() -> None:
    told = load_experiment("regress_tiny").model_dump(mode="json")
    assert not _faults("train", experiment=told)
    given = pipeline_flow.validate_parameters({"experiments": ["classify_tiny", told]})
    assert [load_experiment(one).name for one in given["experiments"]] == ["classify_tiny", "regress_tiny"]


def test_faults_of_a_sent_recipe_are_told_as_those_of_a_file() -> None:
    told = load_recipe("tiny").model_dump(mode="json")
    with pytest.raises(RecipeError, match="1 fault in the recipe") as caught:
        load_recipe({**told, "samples_per_class": 0})
    assert "samples_per_class" in str(caught.value)


@pytest.mark.parametrize(
    ("sent", "cluster"),
    [
        (None, None),
        ({"kind": "local", "workers": 2}, LocalWorkers(workers=2)),
        (
            {"kind": "scheduler", "address": "tcp://127.0.0.1:1"},
            ExistingScheduler(address="tcp://127.0.0.1:1"),
        ),
        (LocalWorkers(), LocalWorkers()),
    ],
)
def test_a_sent_cluster_is_the_model(sent: Any, cluster: Any) -> None:
    assert not _faults("simulate", cluster=sent.model_dump() if isinstance(sent, LocalWorkers) else sent)
    given = simulate_flow.validate_parameters({**NEEDED["simulate"], "cluster": sent})
    assert given["cluster"] == cluster


def test_a_cluster_that_is_none_is_refused_by_the_flow_too() -> None:
    with pytest.raises(ParameterTypeError, match="moon"):
        simulate_flow.validate_parameters({**NEEDED["simulate"], "cluster": {"kind": "moon"}})
