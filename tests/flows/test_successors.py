"""Models that follow their data: trained on each version, compared with the last good one."""

import base64
import json
import re
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from flows.lineages import successors
from flows.lineages.successors import check_training, follow, follow_all, history, run_folder
from flows.lineages.trend_page import trend_page
from schemas.errors import FlowError, RecipeError, RunError, WriteError
from schemas.lineage import Version, VersionBook
from schemas.placement import Here, OnWorkPool, Placement
from schemas.report import Report
from schemas.trend import changes, comparable
from storage.files.place import place
from storage.upkeep.versions import name_latest, read_book, write_book
from tests.reports import full_report, plain_report

NAME, OTHER = "classify_tiny", "regress_tiny"


class Nights:
    """Versions in a book alone, whose trainings score what they are told to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.score = 0.9
        self.trained: list[str] = []
        self.places: list[Placement] = []
        self.shown: list[str] = []

    def begin(self, score: float, **more: Any) -> int:
        """The next version."""
        book = read_book(self.folder)
        number = book.newest + 1
        values = {"lineage": "a" * 64, "recipe": "tiny", "seed": number, "state": "good"}
        values |= {"number": number, "digest": f"{number:08d}" * 8, "packages": {"numpy": "2.0"}} | more
        write_book(self.folder, book.having(Version.model_validate(values)))
        (self.folder / f"v{number:04d}.zarr").mkdir(parents=True)
        name_latest(self.folder, number)
        self.score = score
        return number

    def train(self, where: Placement, experiment: str, _: str, run: str, quiet: bool) -> None:
        """In place of a training."""
        assert quiet
        self.trained.append(run)
        self.places.append(where)
        if experiment == OTHER:
            raise RunError("the loss is no number")

    def evaluate(self, where: Placement, run: str, store: str) -> Report:
        """In place of an evaluation."""
        self.places.append(where)
        number = int(Path(store).name[1:5])
        report = full_report("classification")
        (score,) = report.scores
        low, high = self.score - 0.01, self.score + 0.01
        value = {"value": self.score, "low": low, "high": high}
        changed = score.model_copy(update={"value": type(score.value).model_validate(value)})
        report = report.model_copy(update={"scores": (changed,), "store_digest": f"{number:08d}" * 8})
        folder = Path(run) / "reports" / f"tiny-test-{report.store_digest[:8]}"
        folder.mkdir(parents=True)
        (folder / "report.json").write_text(report.to_json())
        return report


@pytest.fixture
def nights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Nights:
    """A folder of versions without data."""
    folder = tmp_path / "versions"
    folder.mkdir()
    write_book(folder, VersionBook())
    made = Nights(folder)
    monkeypatch.setattr(successors, "trained", made.train)
    monkeypatch.setattr(successors, "measured", made.evaluate)
    monkeypatch.setattr(successors, "show", lambda _, text, __: made.shown.append(text))
    return made


def test_each_version_has_a_run_of_its_own(nights: Nights) -> None:
    for score in (0.9, 0.91):
        nights.begin(score)
        assert follow(nights.folder, NAME, 0.05, 1) == ()
    assert nights.trained == [str(run_folder(nights.folder, NAME, number)) for number in (1, 2)]
    assert [one.version for one in history(nights.folder, NAME)] == [1, 2]


def test_models_are_made_where_the_experiment_or_the_night_says(nights: Nights, tmp_path: Path) -> None:
    placed = tmp_path / "placed.yaml"
    shipped = Path(str(files("flows") / "recipes" / "experiments" / f"{NAME}.yaml")).read_text()
    placed.write_text(f"{shipped}\nplacement: {{kind: pool, pool: gpu}}\n")
    nights.begin(0.9)
    follow(nights.folder, str(placed), 0.05, 1)
    nights.begin(0.9)
    follow(nights.folder, str(placed), 0.05, 1, OnWorkPool(pool="other"))
    nights.begin(0.9)
    follow(nights.folder, NAME, 0.05, 1)
    pools = [OnWorkPool(pool="gpu"), OnWorkPool(pool="other"), Here()]
    assert nights.places == [where for where in pools for _ in ("trained", "measured")]


def test_a_score_that_falls_is_told_in_bold(nights: Nights) -> None:
    for score in (0.9, 0.8):
        nights.begin(score)
        worse = follow(nights.folder, NAME, 0.05, 1)
    assert [(one.version, one.against) for one in worse] == [(2, 1)]
    page = nights.shown[-1]
    assert "**regression: auc_macro went from 0.9 on version 1 to 0.8 on version 2" in page
    assert "No package changed between the two." in page
    assert "**regression**" not in nights.shown[0]


def test_packages_that_changed_are_told(nights: Nights) -> None:
    nights.begin(0.9)
    follow(nights.folder, NAME, 0.05, 1)
    nights.begin(0.8, packages={"numpy": "2.1"})
    follow(nights.folder, NAME, 0.05, 1)
    assert "Between the two changed: numpy 2.0 -> 2.1." in nights.shown[-1]


def test_what_was_measured_is_not_measured_again(nights: Nights) -> None:
    nights.begin(0.9)
    follow(nights.folder, NAME, 0.05, 1)
    nights.score = 0.1
    follow(nights.folder, NAME, 0.05, 1)
    (point,) = history(nights.folder, NAME)
    assert point.scores[0].value.value == 0.9


def test_reports_from_before_there_were_scores_count(nights: Nights) -> None:
    nights.begin(0.9)
    follow(nights.folder, NAME, 0.05, 1)
    (path,) = nights.folder.rglob("report.json")
    path.write_text(plain_report("classification").to_json())
    (point,) = history(nights.folder, NAME)
    assert [one.name for one in point.scores] == ["auc_macro"]


def test_another_recipe_is_not_compared_with_the_one_before(nights: Nights) -> None:
    nights.begin(0.9)
    follow(nights.folder, NAME, 0.05, 1)
    nights.begin(0.7, lineage="b" * 64)
    assert follow(nights.folder, NAME, 0.05, 1) == ()
    nights.begin(0.6, lineage="b" * 64)
    assert [one.against for one in follow(nights.folder, NAME, 0.05, 1)] == [2]
    # from now on this is what is expected
    assert follow(nights.folder, NAME, 0.05, since=3) == ()


def test_a_regression_fails_the_night_only_when_asked(nights: Nights) -> None:
    for score in (0.9, 0.8):
        nights.begin(score)
        follow_all(nights.folder, [NAME], 0.05, 1, fail_on_regression=False)
    with pytest.raises(FlowError, match="regression: auc_macro went from"):
        follow_all(nights.folder, [NAME], 0.05, 1, fail_on_regression=True)


def test_one_that_fails_keeps_none_from_being_trained(nights: Nights) -> None:
    nights.begin(0.9)
    with pytest.raises(FlowError, match=f"{OTHER}: the loss is no number") as caught:
        follow_all(nights.folder, [OTHER, NAME], 0.05, 1, fail_on_regression=False)
    assert "new=false" in caught.value.advice
    assert len(nights.trained) == 2
    assert [one.version for one in history(nights.folder, NAME)] == [1]


def test_a_report_that_is_torn_is_told(nights: Nights) -> None:
    nights.begin(0.9)
    follow(nights.folder, NAME, 0.05, 1)
    (path,) = nights.folder.rglob("report.json")
    path.write_text("{")
    with pytest.raises(RunError, match="move it away") as caught:
        follow(nights.folder, NAME, 0.05, 1)
    assert str(path) in caught.value.found


def test_what_cannot_be_trained_is_refused_before_any_data_are_made(tmp_path: Path) -> None:
    check_training(place("s3://bucket/versions"), [])
    with pytest.raises(WriteError, match="cannot be trained into s3://"):
        check_training(place("s3://bucket/versions"), [NAME])
    with pytest.raises(RecipeError, match="the same name"):
        check_training(tmp_path, [NAME, NAME])


def test_the_page_shows_the_newest_first_and_a_picture(nights: Nights) -> None:
    for score in (0.9, 0.95, 0.8):
        nights.begin(score)
        follow(nights.folder, NAME, 0.05, 1)
    points = comparable(history(nights.folder, NAME), 1)
    page = trend_page(NAME, points, changes(points, 0.05), 0.05)
    assert page == nights.shown[-1]
    rows = [line.split("|")[1].strip() for line in page.splitlines() if line.startswith("| ")]
    assert rows == ["version", "3", "2", "1"]
    ((kind, picture),) = re.findall(r"!\[auc_macro over versions\]\(data:image/(\w+);base64,([^)]+)\)", page)
    assert kind == "png"
    assert base64.b64decode(picture).startswith(b"\x89PNG")
    assert len(page) < 100_000, "Prefect keeps it in its database"
    assert "data:image" not in nights.shown[0], "of one version there is nothing to draw"


def test_an_event_is_sent_in_a_run(nights: Nights, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[dict[str, Any]] = []
    emit: Callable[..., None] = lambda event, **more: sent.append({"event": event, **more})  # noqa: E731
    monkeypatch.setattr(successors, "emit_event", emit)
    monkeypatch.setattr(successors, "in_a_run", lambda: True)
    for score in (0.9, 0.8):
        nights.begin(score)
        follow(nights.folder, NAME, 0.05, 1)
    (event,) = sent
    assert event["event"] == "lensmill.score.regression"
    assert event["resource"] == {"prefect.resource.id": "lensmill.experiment.classify-tiny"}
    assert event["payload"]["verdict"] == "worse"
    json.dumps(event)
