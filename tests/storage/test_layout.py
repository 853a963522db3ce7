"""Index arithmetic, by properties: whatever the shares, classes and sizes are."""

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.catalogue import load_recipe
from schemas.dataset import SPLITS, DatasetRecipe, Splits
from schemas.errors import RecipeError
from schemas.store import StorePlan
from storage import layout
from storage.layout import Span

TINY = load_recipe("tiny")
PlanOf = Callable[[DatasetRecipe, int], StorePlan]


def _recipe(shares: Splits, classes: int, samples_per_class: int) -> DatasetRecipe:
    changed = {
        "splits": shares,
        "classes": TINY.classes[:classes],
        "samples_per_class": samples_per_class,
    }
    return TINY.model_copy(update=changed)


@st.composite
def shares(draw: st.DrawFn) -> Splits:
    """Shares with a common denominator up to 60."""
    weights = draw(st.lists(st.integers(0, 20), min_size=3, max_size=3).filter(any))
    total = sum(weights)
    train, val, test = (Fraction(weight, total) for weight in weights)
    return Splits(train=train, val=val, test=test)


@st.composite
def recipes(draw: st.DrawFn) -> DatasetRecipe:
    """Recipes large enough for each share to get a sample."""
    splits = draw(shares())
    samples = splits.denominator + draw(st.integers(0, 150))
    return _recipe(splits, draw(st.integers(1, 3)), samples)


shard_sizes = st.integers(0, 8).map(lambda power: 1 << power)


def _whole(recipe: DatasetRecipe, split: str) -> Span:
    return Span(split, 0, 0, layout.split_rows(recipe)[split])


@settings(deadline=None)
@given(recipe=recipes(), shard_rows=shard_sizes)
def test_every_sample_is_in_exactly_one_row(recipe: DatasetRecipe, shard_rows: int, plan_of: PlanOf) -> None:
    plan = plan_of(recipe, shard_rows)
    ids = np.concatenate([layout.sample_ids(recipe, span) for span in layout.spans(plan)])
    assert np.array_equal(np.sort(ids), np.arange(recipe.sample_count))
    assert sum(layout.split_rows(recipe).values()) == recipe.sample_count


@settings(deadline=None)
@given(recipe=recipes(), shard_rows=shard_sizes)
def test_spans_tile_each_split(recipe: DatasetRecipe, shard_rows: int, plan_of: PlanOf) -> None:
    plan = plan_of(recipe, shard_rows)
    spans = list(layout.spans(plan))
    assert len(spans) == layout.shard_count(plan)
    for split in plan.splits:
        own = [span for span in spans if span.split == split.name]
        assert [span.shard for span in own] == list(range(len(own)))
        assert [span.first_row for span in own] == [shard_rows * number for number in range(len(own))]
        assert all(span.rows == shard_rows for span in own[:-1])
        assert own[-1].first_row + own[-1].rows == split.rows


@settings(deadline=None)
@given(recipe=recipes(), data=st.data())
def test_locate_is_the_inverse(recipe: DatasetRecipe, data: st.DataObject) -> None:
    split = data.draw(st.sampled_from([name for name in SPLITS if layout.split_rows(recipe)[name]]))
    for row, sample in enumerate(layout.sample_ids(recipe, _whole(recipe, split))):
        assert layout.locate(recipe, int(sample)) == (split, row)


@given(recipe=recipes(), far=st.integers(10**9, 10**12))
def test_locate_is_the_inverse_far_out(recipe: DatasetRecipe, far: int) -> None:
    sample = far * len(recipe.classes)
    split, row = layout.locate(recipe, sample)
    assert layout.sample_ids(recipe, Span(split, 0, row, 1)).tolist() == [sample]


@settings(deadline=None)
@given(recipe=recipes(), one=shard_sizes, other=shard_sizes)
def test_rows_do_not_depend_on_the_shard_size(
    recipe: DatasetRecipe, one: int, other: int, plan_of: PlanOf
) -> None:
    rows = [
        {
            split: [
                int(sample)
                for span in layout.spans(plan_of(recipe, size))
                if span.split == split
                for sample in layout.sample_ids(recipe, span)
            ]
            for split in SPLITS
        }
        for size in (one, other)
    ]
    assert rows[0] == rows[1]


@settings(deadline=None)
@given(recipe=recipes(), shard_rows=shard_sizes)
def test_classes_are_balanced_in_every_shard(recipe: DatasetRecipe, shard_rows: int, plan_of: PlanOf) -> None:
    for span in layout.spans(plan_of(recipe, shard_rows)):
        labels = layout.labels_of(recipe, layout.sample_ids(recipe, span))
        counts = [int((labels == one.label).sum()) for one in recipe.classes]
        assert sum(counts) == span.rows
        assert max(counts) - min(counts) <= 1


@given(splits=shares(), classes=st.integers(1, 3))
def test_every_prefix_is_within_a_block_of_the_shares(splits: Splits, classes: int) -> None:
    recipe = _recipe(splits, classes, 1)
    blocks = 2 * splits.denominator + 7
    homes = [layout.locate(recipe, block * classes)[0] for block in range(blocks)]
    for name in SPLITS:
        share: Fraction = getattr(splits, name)
        got = 0
        for length, home in enumerate(homes, start=1):
            got += home == name
            assert abs(got - share * length) < 1, (name, length)


@given(recipe=recipes())
def test_split_rows_counts_what_locate_says(recipe: DatasetRecipe) -> None:
    homes = [layout.locate(recipe, sample)[0] for sample in range(recipe.sample_count)]
    assert layout.split_rows(recipe) == {name: homes.count(name) for name in SPLITS}


@given(recipe=recipes(), more=st.integers(1, 200))
def test_growing_keeps_class_and_place(recipe: DatasetRecipe, more: int) -> None:
    grown = _recipe(recipe.splits, len(recipe.classes), recipe.samples_per_class + more)
    for split, rows in layout.split_rows(recipe).items():
        before = layout.sample_ids(recipe, Span(split, 0, 0, rows)) if rows else np.empty(0, np.int64)
        assert layout.split_rows(grown)[split] >= rows
        after = layout.sample_ids(grown, Span(split, 0, 0, rows)) if rows else before
        assert np.array_equal(before, after)
        assert np.array_equal(layout.labels_of(recipe, before), layout.labels_of(grown, after))


def test_a_share_that_gets_no_sample_is_refused() -> None:
    splits = Splits(train=Fraction(9, 10), val=Fraction(1, 20), test=Fraction(1, 20))
    with pytest.raises(RecipeError, match=r"the (val|test) split has a share of 1/20 but gets none of 3"):
        layout.split_rows(_recipe(splits, 3, 3))


def test_a_split_without_a_share_has_no_rows(plan_of: PlanOf) -> None:
    recipe = _recipe(Splits(train=Fraction(1)), 3, 5)
    assert layout.split_rows(recipe) == {"train": 15, "val": 0, "test": 0}
    assert [split.name for split in plan_of(recipe, 8).splits] == ["train"]


@pytest.mark.parametrize(
    ("side", "shard_rows", "chunk_rows"), [(64, 4096, 32), (150, 512, 4), (4096, 1, 1), (32, 16384, 128)]
)
def test_shards_and_chunks_are_powers_of_two_within_their_budgets(
    side: int, shard_rows: int, chunk_rows: int
) -> None:
    image_bytes = 4 * side * side
    assert layout.default_shard_rows(image_bytes) == shard_rows
    assert layout.chunk_rows(image_bytes, shard_rows) == chunk_rows


@given(image_bytes=st.integers(4, 1 << 28))
def test_the_largest_power_of_two_within_64_mib(image_bytes: int) -> None:
    rows = layout.default_shard_rows(image_bytes)
    assert rows & (rows - 1) == 0
    assert rows == 1 or rows * image_bytes <= 64 << 20
    assert 2 * rows * image_bytes > 64 << 20


@given(image_bytes=st.integers(4, 1 << 24), power=st.integers(0, 14))
def test_a_chunk_divides_its_shard(image_bytes: int, power: int) -> None:
    chunk = layout.chunk_rows(image_bytes, 1 << power)
    assert 1 <= chunk <= 1 << power
    assert (1 << power) % chunk == 0


def test_a_plan_of_a_trillion_images_is_counted_without_listing_them(plan_of: PlanOf) -> None:
    splits = Splits(train=Fraction(7, 10), val=Fraction(1, 10), test=Fraction(2, 10))
    plan = plan_of(_recipe(splits, 3, 10**12), 64)
    assert layout.shard_count(plan) == -(-21 * 10**11 // 64) + -(-3 * 10**11 // 64) + -(-6 * 10**11 // 64)
    assert layout.store_bytes(plan) > 3 * 10**12 * 4 * TINY.detector.num_pix**2
