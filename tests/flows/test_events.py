"""Events that others wait for, and what a finished data set shows: there, complete, and never in the way."""

import base64
import importlib
import inspect
import logging
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from prefect.states import Cancelled, Crashed, Failed, State
from ruamel.yaml import YAML

from flows import generate
from flows.assess import artifact_key
from flows.comparing import compare_flow
from flows.generate import DatasetSummary, Order, simulate_flow
from flows.repair import repair_flow
from flows.telling import events, exhibits
from schemas.errors import StoreConflictError
from storage import commit
from storage.pictures.thumbnail import thumbnail

DEPLOYMENTS = YAML(typ="safe", pure=True).load((Path(__file__).parents[2] / "prefect.yaml").read_text())[
    "deployments"
]


def _deployed() -> list[Any]:
    """The flows of `prefect.yaml`."""
    places = [one["entrypoint"].rpartition(".") for one in DEPLOYMENTS]
    return [getattr(importlib.import_module(module), name) for module, _, name in places]


# of a repair neither order nor cluster is looked at before it runs
NOTHING: Any = None
FLOWS = (*_deployed(), compare_flow, repair_flow(NOTHING, [], NOTHING, quiet=True))


@pytest.fixture
def emitted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """Events instead of sending them: name and payload."""
    found: list[tuple[str, dict[str, Any]]] = []

    def emit(event: str, resource: dict[str, str], payload: dict[str, Any], **_: Any) -> None:
        assert resource["prefect.resource.id"].startswith("lensmill.")
        found.append((event, payload))

    monkeypatch.setattr(events, "emit_event", emit)
    return found


def _end(flow: Any, state: "State[Any]", **parameters: Any) -> None:
    run: Any = SimpleNamespace(id=uuid4(), name="brave-lens", parameters=parameters, parent_task_run_id=None)
    hooks = {"FAILED": flow.on_failure_hooks, "CRASHED": flow.on_crashed_hooks}
    for hook in hooks.get(state.type.value, flow.on_cancellation_hooks):
        hook(flow, run, state)


@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.name)
def test_every_flow_tells_how_it_ended(flow: Any, emitted: list[tuple[str, dict[str, Any]]]) -> None:
    _end(flow, Failed(message="went wrong"), data="s.zarr")
    _end(flow, Crashed(message="went away"), data="s.zarr")
    _end(flow, Cancelled(message="was stopped"), data="s.zarr")
    names = [f"lensmill.{flow.name}.{how}" for how in ("failed", "failed", "cancelled")]
    assert [name for name, _ in emitted] == names
    assert [payload["state"] for _, payload in emitted] == ["Failed", "Crashed", "Cancelled"]
    assert [payload["message"] for _, payload in emitted] == ["went wrong", "went away", "was stopped"]
    assert {payload["store"] for _, payload in emitted} == {"s.zarr"}


def test_a_repair_says_which_store() -> None:
    assert list(inspect.signature(FLOWS[-1].fn).parameters) == ["store"]


def test_an_error_of_ours_is_told_with_its_advice(emitted: list[tuple[str, dict[str, Any]]]) -> None:
    error = StoreConflictError("another recipe\nand more of it", advice="choose another --out")
    _end(simulate_flow, Failed(data=error, message="Flow run encountered an exception"), out="a.zarr")
    ((_, payload),) = emitted
    assert (payload["message"], payload["advice"]) == ("another recipe", "choose another --out")
    assert (payload["store"], payload["run"], payload["subflow"]) == ("a.zarr", "brave-lens", False)


def test_names_become_keys_that_prefect_takes() -> None:
    keys = [artifact_key(name) for name in ("model_ii", "My.Run_2", "_x_", "a--b")]
    assert keys == ["model-ii", "my-run-2", "x", "a-b"]
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", key) for key in keys)


# -- a finished data set


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch, emitted: list[tuple[str, dict[str, Any]]]) -> list[dict[str, Any]]:
    """Artifacts instead of sending them, as in a flow run."""
    found: list[dict[str, Any]] = []
    monkeypatch.setattr(exhibits, "in_a_run", lambda: True)
    monkeypatch.setattr(exhibits, "create_markdown_artifact", lambda **what: found.append(what))
    return found


def _summary(order: Order) -> DatasetSummary:
    return DatasetSummary(
        store=str(order.root),
        recipe="tiny",
        digest=order.recipe.digest,
        rows=60,
        shards=9,
        made=4,
        seconds=2.0,
        images_per_s=16.0,
    )


def test_a_data_set_is_shown_with_its_gallery(
    sound_store: Order, shown: list[dict[str, Any]], emitted: list[tuple[str, dict[str, Any]]]
) -> None:
    exhibits.exhibit(sound_store, _summary(sound_store))
    ((artifact,), ((event, payload),)) = shown, emitted
    assert artifact["key"] == "dataset-tiny"
    text = artifact["markdown"]
    for words in (
        "## tiny: 60 images",
        sound_store.recipe.digest[:12],
        "train 42, val 6, test 12",
        "9 of 8 images",
        "4 shards in 2.0 s, 16 images/s",
        f"lensmill verify {sound_store.root}",
        "numpy",
    ):
        assert words in text
    picture = re.search(r"\(data:image/png;base64,([A-Za-z0-9+/=]+)\)", text)
    assert picture
    assert base64.b64decode(picture[1]).startswith(b"\x89PNG")
    assert len(text) < 200_000
    assert event == "lensmill.dataset.sealed"
    assert payload["digest"] == sound_store.recipe.digest


def test_what_cannot_be_shown_is_no_fault_of_the_data_set(
    sound_store: Order,
    shown: list[dict[str, Any]],
    emitted: list[tuple[str, dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(**_: Any) -> None:
        raise ConnectionError("All connection attempts failed")

    monkeypatch.setattr(exhibits, "create_markdown_artifact", refuse)
    with caplog.at_level(logging.WARNING):
        exhibits.exhibit(sound_store, _summary(sound_store))
    assert "not shown on Prefect's page: All connection attempts failed" in caplog.text
    assert [event for event, _ in emitted] == ["lensmill.dataset.sealed"]

    def fail(*_: Any, **__: Any) -> None:
        raise ValueError("too large")

    monkeypatch.setattr(events, "emit_event", fail)
    exhibits.exhibit(sound_store, _summary(sound_store))


def test_only_what_was_sealed_is_shown(
    store: Order, simulate_here: Callable[[Order], DatasetSummary], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    monkeypatch.setattr(generate, "exhibit", lambda _, summary: made.append(summary.made))
    simulate_here(store)
    assert made == []
    (store.root / commit.MARKER).unlink()
    simulate_here(store)
    assert made == [0]


def test_without_a_flow_run_nothing_is_sent(
    sound_store: Order, emitted: list[tuple[str, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exhibits, "create_markdown_artifact", lambda **_: pytest.fail("sent"))
    exhibits.exhibit(sound_store, _summary(sound_store))
    assert emitted == []


def test_a_thumbnail_is_as_small_as_it_must_be(sound_store: Order, tmp_path: Path) -> None:
    large = thumbnail(sound_store.root, 10**6)
    small = thumbnail(sound_store.root, len(large) - 1)
    assert large.startswith(b"\x89PNG")
    assert 0 < len(small) < len(large)
    assert thumbnail(sound_store.root, 100) == b""
