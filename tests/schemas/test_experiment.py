"""Experiment recipes: what is shipped, what identifies one, what is refused."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from flows.catalogue import load_experiment, shipped
from schemas.errors import RecipeError, UnknownNameError
from schemas.experiment import ExperimentRecipe
from schemas.export import schema
from schemas.reading import parse, read_recipe

SMALL = """\
name: small
description: for tests
objective:
  kind: regression
  targets:
    - {column: theta_E}
    - {column: axion_mass_ev, transform: log10}
training:
  epochs: 3
"""
ReadExperiment = Callable[..., ExperimentRecipe]
SHIPPED = shipped("experiment")
# Of the experiment above. It changes only when every kept run is meant to be another.
GOLDEN = "846703e7c048828ba4477221fee712c4522a9ff39c06221dd1477eca2bc7e288"


@pytest.fixture
def read_experiment(tmp_path: Path) -> ReadExperiment:
    """An experiment from a text (the small one by default) and overrides."""

    def read_text(text: str = SMALL, *overrides: str) -> ExperimentRecipe:
        (tmp_path / "experiment.yaml").write_text(text)
        return read_recipe(tmp_path / "experiment.yaml", ExperimentRecipe, overrides)

    return read_text


def test_the_experiments_that_the_documents_promise_are_shipped() -> None:
    assert {"classify_tiny", "regress_tiny", "classify_model_ii", "regress_axion_mass"} <= set(SHIPPED)


@pytest.mark.parametrize("name", SHIPPED)
def test_each_shipped_experiment_loads_and_opens_with_its_command(name: str) -> None:
    experiment = load_experiment(name)
    assert experiment.name == name
    first = SHIPPED[name].read_text().splitlines()[0]
    assert re.fullmatch(rf"# lensmill train {name} --data \w+\.zarr --out runs/{name}", first)
    assert experiment.description.strip()
    assert experiment.data.store is None


def test_digests_of_shipped_experiments_differ() -> None:
    digests = [load_experiment(name).digest for name in SHIPPED]
    assert len(set(digests)) == len(digests)


BESIDE = ["name=other", "description=else", "data.store=elsewhere.zarr"]
BESIDE.append("expectation={data: tiny, score: auc_macro, at_least: 0.9}")


@pytest.mark.parametrize("beside", BESIDE)
def test_what_changes_no_weight_does_not_change_the_digest(
    read_experiment: ReadExperiment, beside: str
) -> None:
    assert read_experiment(SMALL, beside).digest == read_experiment().digest


# One change for each field that matters; the next test wants all of them here.
CHANGES = {
    "seed": "seed=1",
    "data.classes": "data.classes=[vortex]",
    "data.max_per_class": "data.max_per_class=7",
    "objective": "objective={kind: classification}",
    "objective.targets": "objective.targets.0.transform=log10",
    "objective.allow_derived": "objective.allow_derived=true",
    "model.name": "model.name=resnet18",
    "stretch.softening": "stretch.softening=0.5",
    "augmentation.quarter_turns": "augmentation.quarter_turns=true",
    "augmentation.flips": "augmentation.flips=true",
    "optimiser.learning_rate": "optimiser.learning_rate=1e-4",
    "optimiser.weight_decay": "optimiser.weight_decay=0",
    "optimiser.warmup": "optimiser.warmup=0.2",
    "optimiser.clip": "optimiser.clip=2",
    "training.epochs": "training.epochs=4",
    "training.batch_size": "training.batch_size=32",
    "training.patience": "training.patience=2",
    "training.precision": "training.precision=bfloat16",
}


@pytest.mark.parametrize("change", CHANGES.values())
def test_whatever_changes_weights_changes_the_digest(read_experiment: ReadExperiment, change: str) -> None:
    assert read_experiment(SMALL, change).digest != read_experiment().digest


@pytest.mark.parametrize("unused", ["model.pretrained=false", "model.weights=null", "model.weights=w.pth"])
def test_from_scratch_no_weights_matter(read_experiment: ReadExperiment, unused: str) -> None:
    assert read_experiment(SMALL, unused).digest == read_experiment().digest


def test_trained_weights_change_the_digest(read_experiment: ReadExperiment) -> None:
    flag = read_experiment(SMALL, "model.pretrained=true")
    file = read_experiment(SMALL, "model.pretrained=true", "model.weights=w.pth")
    other = read_experiment(SMALL, "model.pretrained=true", "model.weights=v.pth")
    assert len({one.digest for one in (read_experiment(), flag, file, other)}) == 4
    assert ExperimentRecipe.model_validate_json(file.to_json()) == file


# Fields that came later: a recipe that does not use them has the digest it always had.
LATER = {
    "stretch": "stretch=log",
    "a stretch without options": "stretch=none",
    "rotation": "augmentation.rotation_degrees=5",
    "shift": "augmentation.shift_pixels=1.5",
    "scale": "augmentation.scale={low: 0.9}",
    "loss": "objective.loss=gaussian",
    "an option of the loss": "objective.loss={kind: huber, delta: 2}",
    "classes": "objective={kind: classification, loss: {kind: cross_entropy_then_bce, after_epochs: 1}}",
    "weights": "objective={kind: classification, class_weights: balanced}",
    "anomaly": "objective={kind: anomaly}",
    "method": "objective={kind: anomaly, method: adversarial}",
    "bottleneck": "objective={kind: anomaly, latent: 8}",
    "shuffled labels": "data.labels=shuffled",
}


def test_later_fields_change_the_digest_when_used(read_experiment: ReadExperiment) -> None:
    digests = {read_experiment(SMALL, change).digest for change in LATER.values()}
    assert len(digests | {read_experiment().digest}) == len(LATER) + 1


# What was shipped before those fields.
KEPT = {
    "classify_model_ii": "5ff6b7bcace6b43e4017732ecaea78d411bc7a1cf7b923e82eab052e4bd0fd54",
    "classify_tiny": "421c7cde69502d1a801294aa979a10c1fc6c16d30fe19087cfaae2e132006c6d",
    "regress_axion_mass": "d93edfe62e4a058cee49e7ebdd8721b88d9b96021fd65c9166f0a20373f8662d",
    "regress_tiny": "2b6702efd2ee942e38a38835fa6b14986a290cadd15acbcde6d9dcb41b198dd6",
}


@pytest.mark.parametrize("name", KEPT)
def test_shipped_experiments_keep_their_digests(name: str) -> None:
    assert load_experiment(name).digest == KEPT[name]


def test_every_field_is_either_part_of_the_digest_or_said_not_to_be(read_experiment: ReadExperiment) -> None:
    fields: set[str] = set()
    for name, value in read_experiment().model_dump().items():
        parts = value if isinstance(value, dict) else {}
        fields |= {f"{name}.{part}" for part in parts if part != "kind"} or {name}
    assert fields == (set(CHANGES) - {"objective"}) | {"name", "description", "expectation", "data.store"}


def test_spelt_out_defaults_do_not_matter(read_experiment: ReadExperiment) -> None:
    spelt = read_experiment(
        SMALL,
        "seed=0",
        "model={name: lensmill_stem_vit}",
        "data={classes: null}",
        "augmentation={quarter_turns: false}",
        "optimiser={kind: adamw, learning_rate: 0.001}",
    )
    assert spelt == read_experiment()
    assert spelt.digest == read_experiment().digest


def test_an_experiment_survives_json(read_experiment: ReadExperiment) -> None:
    one = read_experiment()
    again = ExperimentRecipe.model_validate_json(one.to_json())
    assert (again, again.digest) == (one, one.digest)


def test_the_digest_of_a_fixed_experiment_never_changes(read_experiment: ReadExperiment) -> None:
    assert read_experiment().digest == GOLDEN


# -- JSON Schema


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(schema("experiment"))


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_experiment_fits_the_schema(
    validator: jsonschema.Draft202012Validator, name: str
) -> None:
    validator.validate(parse(SHIPPED[name].read_text(), name).value)


@pytest.mark.parametrize(
    "change",
    [
        {"sead": 1},
        {"seed": -1},
        {"objective": {"kind": "guessing"}},
        {"training": {"epochs": 0}},
        {"training": {}},
        {"model": {"name": "a/b"}},
        {"optimiser": {"learning_rate": 0}},
        {"stretch": "sqrt"},
        {"augmentation": {"scale": {"high": 9}}},
        {"augmentation": {"rotation_degrees": -1}},
    ],
    ids=str,
)
def test_the_schema_refuses_what_the_model_refuses(
    validator: jsonschema.Draft202012Validator, change: dict[str, Any]
) -> None:
    document = parse(SMALL, "small").value
    assert validator.is_valid(document)
    assert not validator.is_valid({**document, **change})


# -- bad values

BAD: dict[str, tuple[str, str, list[str]]] = {
    "no epochs": ("epochs: 3", "epochs: 0", ["training.epochs", "line 9", "greater than or equal to 1"]),
    "a word for a number": ("epochs: 3", "epochs: many", ["training.epochs", "line 9", "many"]),
    "an unknown key": ("epochs: 3", "epochs: 3\n  batchsize: 4", ["unknown key", "'batch_size'", "line 10"]),
    "an unknown objective": ("kind: regression", "kind: regresion", ["objective", "regresion", "line"]),
    "a target twice": ("axion_mass_ev", "theta_E", ["objective", "a column is listed twice", "line"]),
    "an unknown transform": ("log10", "ln", ["transform", "line 7", "'ln'"]),
    "no targets": (SMALL[SMALL.index("  targets") : SMALL.index("training")], "", ["targets: missing"]),
    "no objective": (SMALL[SMALL.index("objective") : SMALL.index("training")], "", ["objective: missing"]),
    "a name with a space": ("name: small", "name: a b", ["name", "line 1"]),
    "a path for a model": ("training:", "model: {name: ../x}\ntraining:", ["model.name", "'../x'", "line 8"]),
    "a hub for a model": ("training:", "model: {name: 'hf-hub:x'}\ntraining:", ["model.name", "line 8"]),
    "a rate of zero": (
        "training:",
        "optimiser: {learning_rate: 0}\ntraining:",
        ["learning_rate", "line 8", "greater than 0"],
    ),
}


@pytest.mark.parametrize("fault", BAD)
def test_bad_values_are_told_with_their_line(read_experiment: ReadExperiment, fault: str) -> None:
    before, after, says = BAD[fault]
    assert before in SMALL
    with pytest.raises(RecipeError) as caught:
        read_experiment(SMALL.replace(before, after, 1))
    for words in [*says, "experiment.yaml", "lensmill schema experiment"]:
        assert words in str(caught.value)
    assert str(caught.value).startswith("1 fault ")


def test_an_unknown_experiment_lists_the_shipped_ones() -> None:
    with pytest.raises(UnknownNameError, match="unknown experiment 'clasify_tiny'") as caught:
        load_experiment("clasify_tiny")
    assert "'classify_tiny'" in caught.value.advice
    assert "regress_tiny" in caught.value.expected


def test_a_class_is_listed_once() -> None:
    with pytest.raises(RecipeError, match="listed twice"):
        load_experiment("classify_tiny", ["data.classes=[cdm, cdm]"])


def test_kinds_and_registries_match() -> None:
    from typing import get_args

    from schemas.dataset import StorageOptions
    from schemas.experiment import Objective
    from storage.formats import BACKENDS
    from train.objectives import OBJECTIVES

    kinds = {model.model_fields["kind"].default for model in get_args(get_args(Objective)[0])}
    assert set(OBJECTIVES) == kinds
    assert set(BACKENDS) == set(get_args(StorageOptions.model_fields["backend"].annotation))
