"""Histograms, their axes, and numbers as people write them."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.generate import Order
from schemas.page import PageColumn
from storage.page.histograms import count_column
from storage.page.numbers import spell, spell_bytes, with_unit
from storage.page.plots import FLOOR, HEIGHT, TOP, WIDTH, draw_plot

RANDOM = np.random.default_rng(7)
UNIFORM = RANDOM.random(3000)


def _column(order: Order, values: np.ndarray, label: np.ndarray | None = None) -> PageColumn:
    spec = next(one for one in order.plan.columns if one.name == "axion_mass_ev")
    where = np.full(len(values), 2, np.int32) if label is None else label
    return count_column(order.plan, spec, values, where)


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        (np.exp(UNIFORM * 5), "log"),
        (1e-24 * 10 ** (2 * UNIFORM), "log"),
        (2e-24 * 5**UNIFORM, "log"),
        (0.01 + UNIFORM, "linear"),
        (UNIFORM - 0.5, "linear"),
        (10 + RANDOM.normal(size=3000), "linear"),
        (np.round(UNIFORM * 5), "values"),
        (np.full(3000, 0.5), "values"),
        (np.full(3000, np.nan), "none"),
        (np.round(UNIFORM * 60), "linear"),
    ],
)
def test_the_axis_follows_from_the_values(sound_store: Order, values: np.ndarray, scale: str) -> None:
    column = _column(sound_store, values)
    assert column.scale == scale
    assert sum(map(sum, column.counts)) == np.isfinite(values).sum()
    assert column.constant == (np.nanmin(values) == np.nanmax(values) if scale != "none" else False)


def test_whole_numbers_have_bins_of_as_many_numbers(sound_store: Order) -> None:
    values = np.repeat(np.arange(61.0), 50)
    column = _column(sound_store, values)
    assert np.unique(np.diff(column.edges)) == [2.0]
    assert set(column.counts[2]) <= {100, 50}


def test_classes_are_counted_apart(sound_store: Order) -> None:
    values, label = np.array([1.0, 2, 2, np.nan, 1, np.inf]), np.array([0, 0, 2, 2, 1, 1], np.int32)
    column = _column(sound_store, values, label)
    assert (column.edges, column.counts) == ((1.0, 2.0), ((1, 1), (1, 0), (0, 1)))


@given(st.lists(st.integers(-9999, 9999), min_size=1, max_size=60), st.sampled_from([1.0, 1e-3, 1e-24, 1e10]))
def test_any_values_can_be_drawn(sound_store: Order, values: list[int], factor: float) -> None:
    array = np.array(values) * factor
    column = _column(sound_store, array)
    assert sum(column.counts[2]) == len(array)
    plot = draw_plot(column)
    (_, path), *_ = plot.outlines
    x, y = np.array(re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", path), float).T
    assert (x.min() >= 0) & (x.max() <= WIDTH)
    assert (y.min() >= TOP - 0.1) & (y.max() <= HEIGHT)
    assert len(plot.ticks) <= 8
    assert len({tick.text for tick in plot.ticks}) == len(plot.ticks)
    assert all(0 <= tick.x <= WIDTH for tick in plot.ticks)


@given(st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=60))
def test_odd_values_do_not_stop_a_page(sound_store: Order, values: list[float]) -> None:
    column = _column(sound_store, np.array(values))
    assert sum(column.counts[2]) == len(values)
    assert draw_plot(column).outlines


def test_what_differs_by_rounding_is_the_same(sound_store: Order) -> None:
    assert _column(sound_store, 0.5 + np.arange(30) * 1e-16).constant


def test_the_highest_bin_reaches_the_top(sound_store: Order) -> None:
    values, label = np.r_[UNIFORM, UNIFORM[:10] / 2], np.r_[np.zeros(3000), np.full(10, 2)].astype(np.int32)
    plot = draw_plot(_column(sound_store, values, label))
    assert [position for position, _ in plot.outlines] == [0, 2]
    tops = [min(map(float, re.findall(r" ([\d.]+)", path))) for _, path in plot.outlines]
    # a class of ten samples stands as high as one of thousands: each by the share of its own
    assert tops[1] == TOP
    assert TOP < tops[0] < FLOOR
    assert plot.highest.endswith("%")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (1, "1"), (0.5, "0.5"), (1.2345, "1.23"), (-0.00123, "−0.00123"), (12345, "12,345"),
        (99999.7, "10⁵"), (1e5, "10⁵"), (-1e10, "−10¹⁰"), (3.456e-23, "3.46×10⁻²³"), (0.99999, "1"),
        (9.999e-4, "0.001"), (1234567, "1.23×10⁶"), (float("nan"), "none"),
    ],
)  # fmt: skip
def test_numbers_are_spelled_for_people(value: float, text: str) -> None:
    assert spell(value) == text


def test_units_and_sizes() -> None:
    assert with_unit(0.5, "") == "0.5"
    assert with_unit(1.25, "arcsec") == "1.25 arcsec"
    assert [spell_bytes(size) for size in (12, 1234, 4.6e6, 1.8e9, 5e15)] == [
        "12 bytes", "1.23 kB", "4.6 MB", "1.8 GB", "5,000 TB",
    ]  # fmt: skip
