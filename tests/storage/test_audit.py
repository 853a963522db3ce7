"""Leaks of every form are found, sound data pass, and an audit says what it cannot see."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib import pyplot
from numpy.typing import NDArray

from flows import orders
from flows.generate import Order
from schemas.audit import Audit, Audited
from schemas.errors import DataError, LeakError, StoreUnfinishedError, UnknownNameError, WriteError
from schemas.store import ClassSpec
from storage import commit
from storage.audit import Evidence, audit, draw, gather, refuse_leaks
from storage.audit.evidence import selected_rows
from storage.reader import open_store

Array = NDArray[np.float64]
NAMES = ("no_sub", "cdm", "vortex", "wdm", "sidm")


def sound(seed: int, samples: int = 400, classes: int = 3, **columns: Array) -> Evidence:
    """Columns of several laws and a flux, none of which knows the label."""
    rng = np.random.default_rng(seed)
    label = np.arange(samples * classes, dtype=np.int32) % classes
    size = len(label)
    flux = rng.lognormal(size=size)
    return Evidence(
        about=Audited(
            store="made.zarr",
            recipe="made",
            family="survey",
            digest="0" * 64,
            splits=("train",),
            classes=NAMES[:classes],
        ),
        classes=tuple(ClassSpec(name=name, label=k) for k, name in enumerate(NAMES[:classes])),
        label=label,
        columns={
            "uniform": rng.random(size),
            "normal": rng.normal(size=size),
            "heavy": rng.standard_cauchy(size),
            "choice": rng.choice([1.0, 1.5, 2.0], size=size),
            **columns,
        },
        derived={},
        statistics={"flux": flux, "maximum": flux * rng.random(size)},
        images=np.zeros((0, 1), np.float32),
        pictured=np.zeros(0, np.int64),
    )


def leaking(found: Audit) -> set[str]:
    """The subjects that fail."""
    return {row.subject for row in found.rows if row.verdict == "leak"}


def test_sound_data_pass_in_nearly_all_of_a_hundred_audits() -> None:
    failed = [seed for seed in range(100) if not audit(sound(seed, samples=200)).passed]
    assert len(failed) <= 3


def test_a_shifted_column_fails() -> None:
    made = sound(1)
    shifted = made.columns["normal"] + 0.5 * (made.label == 2)
    found = audit(replace(made, columns={**made.columns, "normal": shifted}))
    assert not found.passed
    assert "normal" in leaking(found) <= {"normal", "all columns"}
    pairs = {
        (row.first, row.second) for row in found.rows if row.subject == "normal" and row.verdict == "leak"
    }
    assert pairs == {("no_sub", "vortex"), ("cdm", "vortex")}
    assert any(leak.startswith("normal (no_sub/vortex AUC 0.6") for leak in found.leaks)


def test_a_column_that_differs_in_spread_alone_fails() -> None:
    made = sound(2)
    wider = made.columns["normal"] * np.where(made.label == 1, 1.6, 1.0)
    found = audit(replace(made, columns={**made.columns, "normal": wider}))
    assert "normal" in leaking(found)
    row = next(row for row in found.rows if row.subject == "normal" and row.verdict == "leak")
    value, distance = row.separations
    assert not value.found
    assert distance.found
    assert "of the distance from the median" in next(leak for leak in found.leaks if "normal" in leak)


def test_columns_that_give_the_label_away_only_together_fail() -> None:
    made = sound(3)
    sign = np.where(made.label == 1, 1.0, -1.0)
    common = np.random.default_rng(4).normal(size=len(sign))
    one, other = made.columns["normal"] + 0.7 * common, np.random.default_rng(5).normal(size=len(sign))
    found = audit(
        replace(made, columns={**made.columns, "normal": one, "other": other + 0.7 * sign * common})
    )
    assert leaking(found) == {"all columns"}


def test_values_missing_in_one_class_alone_fail() -> None:
    made = sound(6)
    rng = np.random.default_rng(7)
    gone = rng.random(len(made.label)) < 0.2
    everywhere = np.where(gone, np.nan, made.columns["uniform"])
    found = audit(replace(made, columns={**made.columns, "uniform": everywhere}))
    assert found.passed
    assert found.missing == {"uniform": int(gone.sum())}
    in_one = np.where(gone & (made.label == 0), np.nan, made.columns["uniform"])
    assert "uniform" in leaking(audit(replace(made, columns={**made.columns, "uniform": in_one})))


def test_a_column_without_a_single_value_is_constant() -> None:
    made = sound(8)
    found = audit(replace(made, columns={**made.columns, "empty": np.full(len(made.label), np.nan)}))
    assert found.passed
    assert found.constant == ("empty",)


def test_constant_columns_are_told_and_not_tested() -> None:
    made = sound(9, fixed=np.full(1200, 0.5))
    found = audit(made)
    assert found.constant == ("fixed",)
    assert "fixed" not in {row.subject for row in found.rows}
    assert any("1 of 5 columns are constant" in note for note in found.notes)


def test_a_column_constant_in_each_class_but_not_the_same_fails() -> None:
    made = sound(10)
    found = audit(replace(made, columns={**made.columns, "label": made.label.astype(float)}))
    assert "label" in leaking(found)
    assert all(row.worst.auc == 1 for row in found.rows if row.subject == "label")


@pytest.mark.parametrize(("classes", "pairs"), [(2, 1), (5, 10)])
def test_every_pair_of_classes_is_looked_at(classes: int, pairs: int, tmp_path: Path) -> None:
    found = audit(sound(11, samples=100, classes=classes))
    assert found.passed
    assert len({(row.first, row.second) for row in found.rows}) == pairs
    assert pyplot.imread(draw(found, tmp_path / "audit.png")).std() > 0.05


@pytest.mark.parametrize("kept", [0, 1])
def test_one_class_alone_is_refused(kept: int) -> None:
    made = sound(12)
    with pytest.raises(DataError, match="nothing to tell apart"):
        replace(made, label=np.full_like(made.label, kept))
    with pytest.raises(DataError, match="nothing to tell apart"):
        replace(made, classes=made.classes[:1], label=np.zeros_like(made.label))


def test_few_samples_are_warned_of() -> None:
    (warning,) = audit(sound(13, samples=60)).warnings
    assert "only 60 samples" in warning
    assert "5,000" in warning
    assert audit(sound(13, samples=5000, classes=2)).warnings == ()


def test_derived_columns_are_told_but_never_fail() -> None:
    made = sound(14)
    betrays = np.where(made.label == 0, 0.0, np.random.default_rng(1).random(len(made.label)))
    # such as the detectability of the test split
    betrays[::2] = np.nan
    found = audit(replace(made, derived={"theta_E_smooth": betrays}))
    assert found.passed
    rows = [row for row in found.rows if row.subject == "theta_E_smooth"]
    assert [row.verdict for row in rows] == ["differs", "differs", "even"]
    assert found.missing == {}


def test_image_statistics_fail_only_when_asked() -> None:
    made = sound(15)
    brighter = made.statistics["maximum"] * np.where(made.label == 1, 3.0, 1.0)
    seen = replace(made, statistics={**made.statistics, "maximum": brighter})
    found = audit(seen)
    assert found.passed
    assert "signal or leak" in {row.verdict for row in found.rows if row.subject == "maximum"}
    assert "maximum" in leaking(audit(seen, strict=True))


def test_a_small_difference_of_flux_is_let_pass() -> None:
    made = sound(16, samples=20_000, classes=2)
    flux = made.statistics["flux"]
    little, much = (np.where(made.label == 1, factor, 1.0) * flux for factor in (1.05, 1.3))
    small, large = (
        replace(made, columns={}, statistics={"flux": one, "rest": one**2}) for one in (little, much)
    )
    assert audit(small).passed
    assert {row.verdict for row in audit(small).rows if row.subject == "flux"} == {"signal or leak"}
    assert leaking(audit(small, strict=True)) >= {"flux"}
    assert leaking(audit(large)) == {"flux"}


def test_mass_on_top_of_the_smooth_lens_fails_and_the_error_says_so() -> None:
    found = audit(replace(sound(17), uncompensated=("cdm", "vortex")))
    assert not found.passed
    with pytest.raises(LeakError, match=r"total mass \(cdm, vortex") as caught:
        refuse_leaks(found)
    assert "compensate_mass" in str(caught.value)
    refuse_leaks(audit(sound(17)))


def test_the_result_survives_its_json() -> None:
    found = audit(sound(18))
    assert Audit.model_validate_json(found.to_json()) == found


def test_an_audit_says_the_same_twice() -> None:
    assert audit(sound(19)) == audit(sound(19))


def test_the_substructures_own_columns_are_left_out(sound_store: Order) -> None:
    seen = gather(open_store(sound_store.root))
    assert set(seen.own) >= {"subhalo_count", "subhalo_mass_msun", "vortex_mass_msun"}
    assert "theta_E" in seen.columns
    assert not set(seen.own) & set(seen.columns)
    assert seen.samples == {"no_sub": 20, "cdm": 20, "vortex": 20}
    assert seen.uncompensated == ("cdm", "vortex")
    assert len(seen.images) == len(seen.pictured) == 60
    np.testing.assert_allclose(seen.images.sum(axis=1), seen.statistics["flux"][seen.pictured], rtol=1e-3)


def test_samples_columns_and_split_can_be_chosen(sound_store: Order) -> None:
    store = open_store(sound_store.root)
    seen = gather(store, split="test", columns=["theta_E", "e1"], most=3)
    assert seen.samples == {"no_sub": 3, "cdm": 3, "vortex": 3}
    assert list(seen.columns) == ["theta_E", "e1"]
    assert seen.about.splits == ("test",)
    with pytest.raises(UnknownNameError, match="subhalo_count"):
        gather(store, columns=["subhalo_count"])
    with pytest.raises(UnknownNameError, match="later"):
        gather(store, split="later")


def test_the_same_rows_are_chosen_every_time(sound_store: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.audit.evidence.BLOCK", 4)
    store = open_store(sound_store.root)
    chosen = selected_rows(store, None, 5)
    again = selected_rows(store, None, 5)
    assert [(split, rows.tolist()) for split, rows in chosen] == [(s, rows.tolist()) for s, rows in again]
    labels = np.concatenate([store.read(split, "label")[rows] for split, rows in chosen])
    assert np.bincount(labels).tolist() == [5, 5, 5]
    done: list[int] = []
    seen = gather(store, most=5, progress=done.append)
    assert done[-1] == 15
    assert seen.label.tolist() == labels.tolist()


def test_an_unfinished_store_is_refused(store: Order) -> None:
    (store.root / commit.MARKER).unlink()
    with pytest.raises(StoreUnfinishedError):
        gather(open_store(store.root))


def test_compensated_mass_is_seen_in_the_columns(
    order_small: Callable[..., Order], make_store: Callable[[Order], None], tmp_path: Path
) -> None:
    order = order_small(tmp_path / "even.zarr", "compensate_mass=true")
    make_store(order)
    seen = gather(open_store(order.root))
    assert seen.uncompensated == ()
    assert list(seen.derived) == ["theta_E_smooth"]
    assert audit(seen).passed


@pytest.fixture(scope="module")
def replica(make_store: Callable[[Order], None], tmp_path_factory: pytest.TempPathFactory) -> Order:
    """A little of Model II."""
    root = tmp_path_factory.mktemp("replica") / "model_ii.zarr"
    order = orders.prepare("model_ii", root, None, ["samples_per_class=140", "instrument.num_pix=32"])
    make_store(order)
    return order


def test_a_replica_is_flagged_for_what_it_is(replica: Order, tmp_path: Path) -> None:
    found = audit(gather(open_store(replica.root)))
    assert "theta_E" in found.constant
    assert len(found.constant) == 14
    said = " ".join(found.notes)
    for words in ("a replica", "no noise", "14 of 16 columns are constant", "without a deep network"):
        assert words in said
    components = [row for row in found.rows if row.kind == "baseline" and row.first == "no_sub"]
    assert all(row.worst.found for row in components)
    assert not found.passed
    with pytest.raises(WriteError, match="cannot write the picture"):
        draw(found, tmp_path / "no" / "folder.png")
