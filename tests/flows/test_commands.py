"""Each subcommand helps, is documented and does what its help says."""

import json
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from matplotlib import pyplot
from ruamel.yaml import YAML
from typer.main import get_command

from flows import cli
from flows.catalogue import shipped
from flows.generate import Order
from tests.galaxies import load_shipped

Lensmill = Callable[..., Any]


class _Unlucky:
    """Ctrl-C while Python finishes an object, where it ignores errors."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


ROOT = Path(__file__).resolve().parents[2]


def _leaves(group: Any, prefix: str = "") -> dict[str, Any]:
    """Every subcommand by all its words, such as `deployment run`."""
    found = {}
    for name, command in group.commands.items():
        words = f"{prefix}{name}"
        found |= _leaves(command, f"{words} ") if hasattr(command, "commands") else {words: command}
    return found


COMMANDS = dict(sorted(_leaves(get_command(cli.app)).items()))


def test_the_data_commands_are_there() -> None:
    assert {"info", "recipes", "schema", "show", "simulate", "verify"} <= COMMANDS.keys()


@pytest.mark.parametrize("flag", ["--help", "-h"])
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(lensmill: Lensmill, command: str, flag: str) -> None:
    said = lensmill(*command.split(), flag)
    assert said.code == 0
    assert f"lensmill {command} " in said.out + " "
    assert "Example:" in said.out
    assert re.search(rf"lensmill {command}\b", said.out.split("Example:")[1])
    # a type that only says how the command is programmed
    assert "Any" not in said.out


def test_the_command_alone_helps(lensmill: Lensmill) -> None:
    said = lensmill("--help")
    assert said.code == 0
    for command in COMMANDS:
        assert command.split()[0] in said.out
    assert lensmill().out + lensmill().err
    assert lensmill("no-such-command").code == 2


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_documented(command: str) -> None:
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    assert any(re.search(rf"lensmill {command}\b", page.read_text()) for page in pages if page.is_file())


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_calls_the_function_of_its_name(command: str) -> None:
    assert COMMANDS[command].callback.__name__ == f"{command.replace(' ', '_')}_command"


def test_recipes_lists_what_is_shipped(lensmill: Lensmill) -> None:
    said = lensmill("recipes")
    assert said.code == 0
    for name in shipped():
        assert f" {name} " in said.out
        assert f"{load_shipped(name).sample_count:,}" in said.out
    assert said.out.count("--set source.file=PATH") == 1


def test_schema_is_json_schema_that_the_shipped_recipes_meet(lensmill: Lensmill) -> None:
    said = lensmill("schema", "dataset")
    assert said.code == 0
    schema = json.loads(said.out)
    jsonschema.Draft202012Validator.check_schema(schema)
    for path in shipped().values():
        jsonschema.validate(YAML(typ="safe", pure=True).load(path.read_text()), schema)
    broken = YAML(typ="safe", pure=True).load(shipped()["tiny"].read_text())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**broken, "sed": 3}, schema)


def test_info_tells_recipe_splits_classes_and_provenance(lensmill: Lensmill, sound_store: Order) -> None:
    said = lensmill("info", sound_store.root)
    assert said.code == 0
    assert sound_store.recipe.digest in said.out
    for words in (
        "tiny",
        "train 42",
        "val 6",
        "test 12",
        "0 no_sub",
        "2 vortex",
        "numpy",
        "theta_E",
        "arcsec",
    ):
        assert words in said.out
    found = json.loads(lensmill("info", sound_store.root, "--json").out)
    assert found["digest"] == sound_store.recipe.digest
    assert found["seed"] == 1001
    assert found["splits"] == [
        {"name": "train", "rows": 42},
        {"name": "val", "rows": 6},
        {"name": "test", "rows": 12},
    ]
    assert (found["shards"], found["shard_rows"], found["image_shape"]) == (9, 8, [1, 16, 16])
    assert [column["name"] for column in found["columns"]] == [
        column.name for column in sound_store.plan.columns
    ]
    assert set(found["provenance"]["versions"]) == {"lensmill", "lenstronomy", "numba", "numpy"}


def test_verify_says_that_a_store_is_sound(lensmill: Lensmill, sound_store: Order) -> None:
    said = lensmill("verify", sound_store.root)
    assert said.code == 0
    assert f"{sound_store.root} is sound: 60 rows, 9 shards" in said.out
    found = json.loads(lensmill("verify", sound_store.root, "--json").out)
    assert found["faults"] == []
    assert (found["rows"], found["shards"], found["recipe"]) == (60, 9, "tiny")


@pytest.mark.parametrize("options", [(), ("--split", "test", "--columns", "2")], ids=["default", "test"])
def test_show_draws_a_picture(
    lensmill: Lensmill, sound_store: Order, tmp_path: Path, options: tuple[str, ...]
) -> None:
    picture = tmp_path / "gallery.png"
    said = lensmill("show", sound_store.root, "--out", picture, *options)
    assert said.code == 0
    assert said.out == f"wrote {picture}\n"
    pixels = np.asarray(pyplot.imread(picture))
    assert pixels.ndim == 3
    assert np.ptp(pixels) > 0.5
    # images, not only letters on white
    assert len(np.unique(pixels[..., 0])) > 50


def test_ctrl_c_where_python_ignores_errors_is_not_lost(
    lensmill: Lensmill, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> None:
        unlucky = _Unlucky()
        del unlucky
        # what is asked for from within does not wake a sleeper
        for _ in range(600):
            time.sleep(0.05)

    monkeypatch.setattr(cli, "app", work)
    said = lensmill("work")
    assert said.code == 130
    assert said.err == "interrupted; finished shards are kept, the same command goes on from there\n"
