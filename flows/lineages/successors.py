"""Models trained on each new version of a data set, and their scores beside those of the versions before."""

from collections.abc import Sequence
from pathlib import Path

from prefect.events import emit_event
from pydantic import ValidationError

from flows.assess import artifact_key
from flows.catalogue import load_experiment
from flows.experiments import check_experiments
from flows.lineages.retention import RUNS
from flows.lineages.trend_page import trend_page
from flows.placing import measured, trained
from flows.telling.run_log import in_a_run, say, show
from schemas.errors import FlowError, LensmillError, PlaceError, RunError
from schemas.lineage import Version
from schemas.metrics import scores_of
from schemas.placement import Placement
from schemas.report import Report
from schemas.run import RunRecord
from schemas.trend import Change, Point, changes, comparable
from storage.files.place import Root
from storage.upkeep.versions import latest_of, read_book, version_name

REPORT, RECORD = "report.json", "run.json"
EVENT = "lensmill.score.regression"


def check_training(root: Root, experiments: Sequence[str], placement: Placement | None = None) -> None:
    """Refuse what could not be trained, before any data are made for it."""
    if not experiments:
        return
    check_experiments(experiments, placement)
    if not isinstance(root, Path):
        raise PlaceError(
            f"models cannot be trained into {root}",
            expected="versions in a folder on a disk, where runs are put beside them",
            advice="leave out experiments, and train on the latest version by a flow of its own",
        )


def follow_all(
    root: Root,
    experiments: Sequence[str],
    tolerance: float,
    since: int,
    fail_on_regression: bool,
    placement: Placement | None = None,
) -> None:
    """Each experiment on the latest version; one that fails keeps none of the others from being trained."""
    faults = []
    for experiment in experiments:
        try:
            worse = follow(Path(str(root)), experiment, tolerance, since, placement)
        except LensmillError as error:
            faults.append(f"{experiment}: {error.found}")
            say(f"{experiment}: {error}", bad=True)
        else:
            faults += [f"regression: {one}" for one in worse] if fail_on_regression else []
    if faults:
        raise FlowError(
            "; ".join(faults),
            where=str(root),
            advice="the data are there and `latest` names them; run the flow again with new=false to train",
        )


def follow(
    root: Path, experiment: str, tolerance: float, since: int, placement: Placement | None = None
) -> tuple[Change, ...]:
    """Train on the latest version, measure on its test split, compare; what fell behind.

    Where the placement says, else where the experiment does.
    """
    number = latest_of(root)
    version = read_book(root).find(number)
    if number is None or version is None:
        raise FlowError(f"no version below {root} can be used", advice="see the flow's log")
    recipe = load_experiment(experiment)
    name, where = recipe.name, placement or recipe.placement
    run, store = run_folder(root, name, number), str(root / version_name(number))
    trained(where, experiment, store, str(run), quiet=True)
    if report_of(run, version) is None:
        measured(where, str(run), store)
    points = comparable(history(root, name), since)
    found = changes(points, tolerance)
    worse = tuple(one for one in found if one.version == number and one.verdict == "worse")
    show(f"trend-{artifact_key(name)}", trend_page(name, points, found, tolerance), f"{name} over versions")
    for one in worse:
        say(f"regression of {name}: {one}", bad=True)
        _emit(root, name, one)
    return worse


def run_folder(root: Path, name: str, number: int) -> Path:
    """Where the model of an experiment on a version is."""
    return root / RUNS / name / f"v{number:04d}"


def history(root: Path, name: str) -> list[Point]:
    """What the experiment scored on each version that has a run, removed ones included."""
    found = []
    for version in read_book(root).versions:
        run = run_folder(root, name, version.number)
        report = report_of(run, version)
        if report is not None:
            found.append(_point(run, version, report))
    return found


def _point(run: Path, version: Version, report: Report) -> Point:
    return Point(
        version=version.number,
        made=version.made,
        lineage=version.lineage,
        experiment_digest=report.experiment_digest,
        scores=report.scores or scores_of(report.metrics),
        packages={**version.packages, **report.versions, **_trained_by(run)},
        report=report.run,
    )


def _trained_by(run: Path) -> dict[str, str]:
    try:
        return RunRecord.model_validate_json((run / RECORD).read_bytes()).versions
    except (OSError, ValidationError):
        return {}


def report_of(run: Path, version: Version) -> Report | None:
    """The report on the test split of a version; one that cannot be read is an error."""
    for path in sorted(run.glob(f"reports/*-test-{version.digest[:8]}/{REPORT}")):
        try:
            return Report.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            raise RunError(
                f"{path} is not what lensmill wrote ({type(error).__name__})",
                advice="move it away: it is measured again",
            ) from error
    return None


def _emit(root: Path, name: str, change: Change) -> None:
    """For whatever listens to Prefect's events, such as an automation that sends mail."""
    if not in_a_run():
        return
    emit_event(
        EVENT,
        resource={"prefect.resource.id": f"lensmill.experiment.{artifact_key(name)}"},
        payload={"folder": str(root), "text": str(change), **change.model_dump(mode="json")},
    )
