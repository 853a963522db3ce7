"""From a run folder to one that can be given away."""

import shutil
from pathlib import Path

from schemas.card import Card, OnnxFile
from schemas.errors import LensmillError, RunMissingError
from schemas.run import RunRecord
from storage.files.place import local, place
from storage.reader import Store, open_store
from train.data import labels_of, load_samples
from train.images import Pixels
from train.records.run_folder import CARD, RECORD, WEIGHTS, Run, check_free, load_run, new_folder
from train.release.card import NO_LICENCE, card_of, page_of
from train.release.model import sample_images
from train.release.onnx_file import FILE, NotExportedError, write_onnx

PAGE = "card.md"
# that the ONNX file is compared with torch on
COMPARED = 16


def export(run: str | Path, out: str | Path, onnx: bool = True, licence: str | None = None) -> Card:
    """A folder with weights, record, card and an ONNX file if it can be made; it appears whole or not at all.

    Paths of this computer are left out. What could not be made is in the card's `remarks`.
    """
    root, out = local(run), local(out)
    check_free(out)
    if (root / CARD).is_file():
        raise RunMissingError(
            f"{root} is an exported model already", expected="the folder of a run", advice="copy it as it is"
        )
    loaded = load_run(root)
    store = _training_store(loaded.record)
    with new_folder(out) as folder:
        file, remarks = _onnx(loaded, folder / FILE, store) if onnx else (None, ["ONNX was not asked for"])
        shutil.copyfile(root / WEIGHTS, folder / WEIGHTS)
        (folder / RECORD).write_text(_without_paths(loaded.record).to_json())
        card = card_of(loaded, store, file, licence or NO_LICENCE, remarks)
        (folder / CARD).write_text(card.to_json())
        (folder / PAGE).write_text(page_of(card))
        # what was checked above may have changed under way
        load_run(folder)
    return card


def _onnx(run: Run, path: Path, store: Store | None) -> tuple[OnnxFile | None, list[str]]:
    real = _some_images(run, store)
    images = sample_images(run, COMPARED) if real is None else real
    try:
        file = write_onnx(run, path, images, real is not None)
    except NotExportedError as error:
        return None, [f"no ONNX file: {error}"]
    if not file.checked_images:
        return file, [f"{FILE} was not compared with torch: onnxruntime is not installed"]
    return file, []


def _training_store(record: RunRecord) -> Store | None:
    """The store that a run was trained on, if it is still there."""
    try:
        store = open_store(place(record.data.store))
    except (LensmillError, OSError):
        return None
    return store if store.stored.digest == record.data.recipe_digest else None


def _some_images(run: Run, store: Store | None) -> Pixels | None:
    if store is None:
        return None
    try:
        samples = load_samples(store, store.plan.splits[0].name, labels_of(store, None))
        found = samples.at_most(COMPARED)[:COMPARED]
    except (LensmillError, OSError):
        return None
    return found if found.shape[1:] == run.record.data.image_shape and len(found) > 1 else None


def _without_paths(record: RunRecord) -> RunRecord:
    """The record with names in place of paths."""
    experiment, start = record.experiment, record.initial_weights
    store, weights = experiment.data.store, experiment.model.weights
    return record.model_copy(
        update={
            "data": record.data.model_copy(update={"store": _name(record.data.store)}),
            "experiment": experiment.model_copy(
                update={
                    "data": experiment.data.model_copy(update={"store": store and _name(store)}),
                    "model": experiment.model.model_copy(update={"weights": weights and _name(weights)}),
                }
            ),
            "initial_weights": start and start.model_copy(update={"source": _name(start.source)}),
        }
    )


def _name(path: str) -> str:
    return path.rstrip("/").rsplit("/", 1)[-1]
