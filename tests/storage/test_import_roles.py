"""What looks like labels or columns is used, refused or named, and never left out in silence."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from schemas.imported import ImportedData, shares
from storage.importing.roles import looks_like
from tests.sources import by_sample, folders, images, imported, refused, warned, write_csv

COUNT = 30
STACK = images(COUNT, 9)
LABELS = np.arange(COUNT) % 3
HALVES = shares("0.5,0,0.5")
SHORT = np.arange(COUNT - 5) % 2

Save = Callable[[Path, dict[str, Any]], Path]


def _npz(folder: Path, arrays: dict[str, Any]) -> Path:
    np.savez(folder / "s.npz", **arrays)
    return folder / "s.npz"


def _hdf5(folder: Path, arrays: dict[str, Any]) -> Path:
    with h5py.File(folder / "s.h5", "w") as file:
        for key, array in arrays.items():
            file[key] = array
    return folder / "s.h5"


SAVERS = {"npz": _npz, "hdf5": _hdf5}


@pytest.mark.parametrize("form", SAVERS)
@pytest.mark.parametrize(
    "key", ["label", "labels", "y", "class", "classes", "target", "y_train", "params", "catalogue"]
)
def test_labels_and_columns_of_another_length_are_refused(tmp_path: Path, form: str, key: str) -> None:
    source = SAVERS[form](tmp_path, {"a": STACK, key: np.arange(3)})
    lines = refused(source)
    assert f"{key} has 3 entries, a has 30 images" in lines[0]
    assert any("expected:" in line for line in lines)
    assert any("--labels" in line for line in lines)


@pytest.mark.parametrize("values", [SHORT, SHORT + 0.5, SHORT.astype("S1")], ids=["int", "float", "words"])
def test_what_has_almost_as_many_entries_is_refused_by_any_name(tmp_path: Path, values: Any) -> None:
    source = _hdf5(tmp_path, {"a": STACK, "is_lens": values, "z": np.ones(31)})
    assert "is_lens has 25 entries, a has 30 images; z has 31 entries" in refused(source)[0]
    # who names the labels has chosen
    chosen = _npz(tmp_path, {"a": STACK, "is_lens": SHORT, "kind": LABELS})
    assert "is_lens has 25 entries" in refused(chosen)[0]
    assert any("is_lens (25,)" in line for line in warned(chosen, labels="kind"))


def test_axes_of_pixels_and_lists_of_names_are_only_told(tmp_path: Path) -> None:
    side = STACK.shape[1]
    stack = STACK[: side + 3]
    others = {"x": np.arange(float(side)), "class_names": np.array(["a", "b", "c"]), "psf": np.ones((16, 16))}
    source = _npz(tmp_path, {"a": stack, "labels": LABELS[: len(stack)], **others})
    told = [line for line in warned(source, splits=HALVES) if "not used" in line]
    assert told == [
        "s.npz: 3 arrays not used: x (12,), class_names (3,), psf (16, 16)"
        " (--labels and --columns take what belongs to the images)"
    ]


def test_names_of_classes_beside_good_labels_are_only_told(tmp_path: Path) -> None:
    source = _hdf5(tmp_path, {"a": STACK, "labels": LABELS, "classes": np.array([b"x", b"y", b"z"])})
    assert "s.h5: 1 array not used: classes (3,)" in "\n".join(warned(source))
    assert len(imported(source, tmp_path / "o.zarr").plan.classes) == 3


@pytest.mark.parametrize("shape", [(COUNT, 1), (COUNT, 3)])
def test_labels_of_two_axes_are_refused(tmp_path: Path, shape: tuple[int, int]) -> None:
    source = _npz(tmp_path, {"a": STACK, "labels": np.zeros(shape, int)})
    assert f"labels is int64{shape}, not one integer or word for each image" in refused(source)[0]
    assert f"labels has shape {shape}, not one label for each image" in refused(source, labels="labels")[0]


def test_other_integers_do_not_stand_in_for_labels_that_do_not_fit(tmp_path: Path) -> None:
    source = _npz(tmp_path, {"a": STACK, "labels": np.arange(3), "bin": LABELS})
    assert "labels has 3 entries" in refused(source)[0]


def test_whole_numbers_kept_as_floats_are_labels(tmp_path: Path) -> None:
    """0.0 to 11.0 in the order of numbers, not of words."""
    values = (np.arange(COUNT) % 12).astype(float)
    store = imported(_npz(tmp_path, {"a": STACK, "labels": values}), tmp_path / "o.zarr", splits=HALVES)
    assert [one.name for one in store.plan.classes] == [f"class_{k}" for k in range(12)]
    found = np.array(list(by_sample(store, "label").values()))
    np.testing.assert_array_equal(found, np.sort(values))
    assert (
        "labels holds float64 with fractions"
        in refused(_npz(tmp_path, {"a": STACK, "labels": values + 0.5}))[0]
    )
    np.save(tmp_path / "images.npy", STACK)
    np.save(tmp_path / "labels.npy", np.full(COUNT, np.nan))
    assert "labels.npy holds float64 with fractions" in refused(tmp_path / "images.npy")[0]


def test_a_column_that_is_called_like_labels_is_told(tmp_path: Path) -> None:
    source = _npz(tmp_path, {"a": STACK, "y": np.linspace(0, 1, COUNT)})
    assert any("y became 1 column, not the classes" in line for line in warned(source))
    (tmp_path / "t").mkdir()
    np.save(tmp_path / "t/images.npy", STACK)
    write_csv(tmp_path / "t/params.csv", ["target", "x"], [[1, 2]] * COUNT)
    assert any("target became 1 column, not the classes" in line for line in warned(tmp_path / "t"))


def test_python_objects_are_refused_where_they_are_needed_alone(tmp_path: Path) -> None:
    words = np.array(["a", "b", "c"] * 10, dtype=object)
    lines = refused(_npz(tmp_path, {"a": STACK, "labels": words}))
    assert "s.npz cannot be read at labels: it holds Python objects" in lines[0]
    assert "dtype=str" in lines[-1]
    source = _npz(tmp_path, {"a": STACK, "labels": LABELS, "meta": np.array([{}, None], dtype=object)})
    assert any("1 array not used: meta (2,)" in line for line in warned(source))


@pytest.mark.parametrize("columns", [("c", "d"), ("a",), ("words",)])
def test_all_columns_that_do_not_fit_are_told(tmp_path: Path, columns: tuple[str, ...]) -> None:
    arrays = {
        "a": STACK,
        "labels": LABELS,
        "c": np.ones(3),
        "d": np.ones((2, 2)),
        "words": LABELS.astype(str),
    }
    said = refused(_npz(tmp_path, arrays), columns=columns)[0]
    for words in {
        "c": ["c has 3 entries", "d has 2 entries"],
        "a": ["a is float64(30, 12, 12), not a number or a row"],
        "words": ["words is <U21(30,), not a number"],
    }[columns[0]]:
        assert words in said


def test_images_that_are_named_must_be_a_stack(tmp_path: Path) -> None:
    source = _npz(tmp_path, {"a": STACK, "labels": LABELS, "one": np.float64(1)})
    assert "one of s.npz has shape ()" in refused(source, images="one")[0]


# -- stacks with files beside them


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    """A folder with a stack."""
    (tmp_path / "s").mkdir()
    np.save(tmp_path / "s/images.npy", STACK)
    return tmp_path / "s"


@pytest.mark.parametrize("name", ["labels", "label", "y", "classes", "targets"])
@pytest.mark.parametrize("given", ["folder", "file"])
def test_a_file_of_labels_is_used_or_refused(stack: Path, name: str, given: str) -> None:
    source = stack if given == "folder" else stack / "images.npy"
    np.save(stack / f"{name}.npy", SHORT)
    assert f"{name}.npy has 25 entries, images.npy has 30 images" in refused(source)[0]
    np.save(stack / f"{name}.npy", LABELS)
    assert len(imported(source, stack.parent / "o.zarr").plan.classes) == 3


def test_two_files_that_may_be_labels_are_asked_for(stack: Path) -> None:
    for name in ("y", "classes"):
        np.save(stack / f"{name}.npy", LABELS)
    assert "2 files may be labels: classes.npy, y.npy" in refused(stack)[0]
    assert any(
        "1 file of" in line and "y.npy" in line for line in warned(stack, labels=str(stack / "classes.npy"))
    )


def test_files_that_are_not_used_are_named(stack: Path) -> None:
    write_csv(stack / "params.csv", ["x"], [[1]] * COUNT)
    np.save(stack / "params.npy", np.ones(3))
    (stack / "notes.txt").write_text("hello")
    assert any("2 files of" in line and "notes.txt, params.npy" in line for line in warned(stack))
    # beside a file alone, only what is called like labels or columns
    told = "\n".join(warned(stack / "images.npy"))
    assert "params.npy" in told
    assert "notes.txt" not in told


def test_one_stack_with_labels_is_no_stack_for_each_class(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    np.save(tmp_path / "s/data.npy", STACK)
    np.save(tmp_path / "s/labels.npy", SHORT)
    assert "labels.npy has 25 entries, data.npy has 30 images" in refused(tmp_path / "s")[0]
    np.save(tmp_path / "s/labels.npy", LABELS)
    assert len(imported(tmp_path / "s", tmp_path / "o.zarr").plan.classes) == 3
    np.save(tmp_path / "s/more.npy", STACK)
    assert "has a stack for each class, and labels.npy beside them" in refused(tmp_path / "s")[0]


def test_rows_and_labels_of_a_table(stack: Path) -> None:
    write_csv(stack / "params.csv", ["Label", "x"], [["1.0", 1]] * 10 + [["2.0", 2]] * 20)
    store = imported(stack, stack.parent / "o.zarr")
    assert [(one.name, one.label) for one in store.plan.classes] == [("class_1", 1), ("class_2", 2)]
    write_csv(stack / "params.csv", ["label", "x"], [["a", 1]] * 28 + [["", 1]] * 2)
    lines = refused(stack)
    assert "  - row 29 of params.csv: no label in it" in lines
    write_csv(stack / "params.csv", ["x"], [[1]])
    assert refused(stack)[0] == "params.csv has 1 row, but images.npy has 30 images"
    write_csv(stack / "params.csv", ["x", "z"], [[1, 2]] * 28 + [[1]] * 2)
    assert "2 rows of other than 2 cells (line 30, 31)" in refused(stack)[0]


def test_a_structured_table_of_words_is_refused(stack: Path) -> None:
    np.save(stack / "params.npy", np.zeros(COUNT, [("x", float), ("name", "U3"), ("pair", float, (2,))]))
    said = refused(stack)[0]
    assert "fields that are no columns: name <U3, pair ('<f8', (2,))" in said


def test_tables_of_folders_say_each_file_once(tmp_path: Path) -> None:
    source = folders(tmp_path / "s", {"cdm": 3, "no_sub": 3})
    names = [f"{name}/00{k}.npy" for name in ("cdm", "no_sub") for k in range(3)]
    table = write_csv(
        tmp_path / "t.csv", ["file", "class", "x"], [[one, "a", 1] for one in [*names, "z.npy"]]
    )
    told = "\n".join(warned(source, table=str(table), splits=HALVES))
    assert "t.csv: 1 row of files that are not there: z.npy" in told
    assert "t.csv: its labels are not used, the folders say the classes" in told
    write_csv(table, ["file", "x"], [[one, 1] for one in [*names, names[0]]])
    assert any(
        "cdm/000.npy: t.csv has more than one row" in line for line in refused(source, table=str(table))
    )
    write_csv(table, ["file", "x"], [[f"00{k}.npy", 1] for k in range(3)])
    assert any(
        "000.npy: t.csv has a row for more than one file" in one for one in refused(source, table=str(table))
    )


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (lambda folder: folders(folder / "f"), {"labels": "x.npy"}),
        (lambda folder: folders(folder / "f"), {"images": "x"}),
        (lambda folder: _npz(folder, {"a": STACK}), {"table": "t.csv"}),
        (lambda folder: _hdf5(folder, {"a": STACK}), {"table": "t.csv"}),
    ],
    ids=["labels of folders", "key of folders", "table of npz", "table of hdf5"],
)
def test_options_that_would_do_nothing_are_refused(
    tmp_path: Path, make: Callable[[Path], Path], options: dict[str, str]
) -> None:
    assert "cannot be used with" in refused(make(tmp_path), **options)[0]


def test_a_stack_without_images_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", STACK[:0])
    assert refused(tmp_path / "images.npy")[0] == "images.npy has no image in it"


def test_names_of_classes_are_told_apart(tmp_path: Path) -> None:
    source = _npz(tmp_path, {"a": STACK})
    assert "names 2 classes, but no labels" in refused(source, class_order=("a", "b"))[0]


@pytest.mark.parametrize(
    ("key", "labels"),
    [
        ("labels", True),
        ("data/y_train", True),
        ("Test_Labels", True),
        ("class_names", False),
        ("images", False),
    ],
)
def test_what_looks_like_labels(key: str, labels: bool) -> None:
    assert looks_like(key, ("y", "labels", "class")) == labels


# -- names


@pytest.mark.parametrize(
    ("file", "name"),
    [("a.npz", "a"), ("Cube No. 2.npz", "cube_no_2"), ("2024.npz", "data_2024"), ("линзы.npz", "data")],
)
def test_a_file_gives_its_name(tmp_path: Path, file: str, name: str) -> None:
    np.savez(tmp_path / file, a=STACK)
    origin = imported(tmp_path / file, tmp_path / "o.zarr").origin
    assert isinstance(origin, ImportedData)
    assert origin.name == name


def test_a_folder_gives_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders(tmp_path / "Model.II", {"cdm": 8, "no_sub": 8})
    monkeypatch.chdir(tmp_path / "Model.II")
    for number, source in enumerate((tmp_path / "Model.II", Path(), Path("cdm/.."))):
        assert imported(source, tmp_path / f"{number}.zarr").origin.name == "model_ii"


def test_a_store_that_was_begun_by_another_name_is_continued(tmp_path: Path) -> None:
    source = _npz(tmp_path, {"a": STACK, "labels": LABELS})
    store = imported(source, tmp_path / "o.zarr", name="of_before")
    (store.root / "lensmill/COMMIT.json").unlink()
    next((store.root / "lensmill/receipts/train").iterdir()).unlink()
    assert imported(source, tmp_path / "o.zarr").plan.recipe_name == "of_before"
