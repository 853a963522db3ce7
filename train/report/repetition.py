"""How a report is made again: recipes as files, and what is typed in a folder where nothing else is."""

import json
import shlex
from collections.abc import Iterator

from schemas.imported import Form, ImportedData
from schemas.page import Fact
from schemas.report import Report
from schemas.run import RunRecord
from storage.page.provenance import RECIPE_CHARACTERS, recipe_text
from storage.reader import Store

# Sources that take more than their path: keys that no store writes down.
KEYED: tuple[Form, ...] = ("npy_stacks", "npz", "hdf5", "fits_cube")


def texts(record: RunRecord, store: Store) -> tuple[Fact, ...]:
    """The experiment, the data and the stretch in full, as JSON, which is YAML too."""
    data = "data.yaml: the recipe of the data"
    if isinstance(store.origin, ImportedData):
        data = "data.yaml: what was known of the imported data"
    elif not _fits(store):
        data = "the recipe of the data, shortened"
    return (
        Fact(
            name="experiment.yaml: the recipe of the training",
            text=_spelt(record.experiment.model_dump(mode="json")),
        ),
        Fact(name=data, text=_origin(store) if _fits(store) else recipe_text(store)),
        Fact(name="the stretch as it was fitted", text=_spelt(record.stretch.model_dump(mode="json"))),
    )


def commands(report: Report, record: RunRecord, store: Store) -> tuple[Fact, ...]:
    """What a reader types to get this report again, with the texts above as files."""
    data, run = _name(report.store), _name(report.run)
    run = run if run != data else f"run-{run}"
    trained, told = data, ""
    if not report.same_recipe:
        trained = _name(record.data.store)
        trained = trained if trained != data else f"training-{trained}"
        told = f"; {trained} are the data that it was trained on, {record.data.recipe_name}, named above"
    evaluate = ("evaluate", run, "--data", data, "--split", report.split)
    return (
        *_of_data(data, store),
        _typed(f"the model{told}", "train", "experiment.yaml", "--data", trained, "--out", run),
        _typed("this report", *evaluate),
    )


def _of_data(name: str, store: Store) -> Iterator[Fact]:
    origin, plan = store.origin, store.plan
    if isinstance(origin, ImportedData):
        yield _imported(name, origin)
        return
    told = "the data" if _fits(store) else "the data; data.yaml is lensmill/recipe.json in the store"
    if (plan.backend, plan.profile) == (origin.storage.backend, origin.storage.profile):
        yield _typed(told, "simulate", "data.yaml", "--out", name)
        return
    made = f"as-simulated-{origin.name}"
    yield _typed(told, "simulate", "data.yaml", "--out", made)
    form = ("--to", plan.backend, "--profile", plan.profile)
    yield _typed("the same in the format of the store", "convert", made, "--out", name, *form)


def _imported(name: str, origin: ImportedData) -> Fact:
    told = "the data" + ("; with the --images, --labels and --params of then" if origin.form in KEYED else "")
    words = [
        "import",
        origin.source,
        "--out",
        name,
        "--name",
        origin.name,
        "--seed",
        str(origin.shuffle_seed),
    ]
    if origin.splits is not None:
        words += ["--splits", ",".join(str(share) for _, share in origin.splits)]
    if origin.pixel_scale_arcsec is not None:
        words += ["--pixel-scale", f"{origin.pixel_scale_arcsec:g}"]
    if origin.channels_last:
        words.append("--channels-last")
    if origin.form not in KEYED:
        words += ["--class-order", ",".join(class_name for class_name, _ in origin.classes)]
    return _typed(told, *words)


def _typed(name: str, *words: str) -> Fact:
    return Fact(name=name, text=shlex.join(("lensmill", *words)))


def _name(path: str) -> str:
    """The last part of a path or URL: folders of another machine are not there."""
    return path.rstrip("/").rsplit("/", 1)[-1]


def _fits(store: Store) -> bool:
    return len(_origin(store)) <= RECIPE_CHARACTERS


def _origin(store: Store) -> str:
    return _spelt(store.origin.model_dump(mode="json"))


def _spelt(content: object) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False)
