"""A sample depends on the recipe, its seed and its own number, and on nothing else."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.catalogue import load_recipe
from simulate.render import Rendered, block_rows, render
from simulate.streams import NOISE, PARAMETERS, Streams, stream

SMALL = ["instrument.num_pix=12", "classes.vortex.substructure.half_length_at_1e22_arcsec=0.005"]
TINY = load_recipe("tiny", SMALL)
MODEL_I = load_recipe(
    "model_i", [*SMALL, "classes.cdm.substructure.count=3", "classes.vortex.substructure.points=5"]
)
EVERY = 40
WHOLE = {recipe.name: render(recipe, np.arange(EVERY)) for recipe in (TINY, MODEL_I)}


def assert_same_bytes(part: Rendered, whole: Rendered, rows: list[int]) -> None:
    for name, values in part.arrays().items():
        assert values.tobytes() == whole.arrays()[name][rows].tobytes(), name


@given(sample_ids=st.lists(st.integers(0, EVERY - 1), min_size=1, max_size=9))
@settings(max_examples=40, deadline=None)
@pytest.mark.parametrize("recipe", [TINY, MODEL_I], ids=lambda recipe: recipe.name)
def test_a_sample_is_the_same_in_any_batch_and_order(recipe, sample_ids: list[int]) -> None:  # type: ignore[no-untyped-def]
    assert_same_bytes(render(recipe, np.array(sample_ids)), WHOLE[recipe.name], sample_ids)


def test_a_sample_is_the_same_on_both_sides_of_a_block() -> None:
    block = block_rows(TINY)
    whole = render(TINY, np.arange(block + 3))
    ids = [0, block - 1, block, block + 2]
    assert_same_bytes(render(TINY, np.array(ids)), whole, ids)


def test_no_samples_make_empty_arrays() -> None:
    empty = render(TINY, np.arange(0))
    assert empty.image.shape == (0, 1, 12, 12)
    assert len(empty.label) == len(empty.params) == 0


def test_rendering_uses_no_global_random_state() -> None:
    np.random.seed(1)  # noqa: NPY002
    before = np.random.get_state()[1].tobytes()  # type: ignore[index, union-attr]  # noqa: NPY002
    assert_same_bytes(render(TINY, np.arange(4)), WHOLE["tiny"], [0, 1, 2, 3])
    assert np.random.get_state()[1].tobytes() == before  # type: ignore[index, union-attr]  # noqa: NPY002


@pytest.mark.parametrize(
    ("seed", "purpose", "sample_id", "expected"),
    [
        (0, 0, 0, [0.011546754286331562, 0.24154919656271812, 0.11142585551493822]),
        (1001, 0, 0, [0.07652289728792983, 0.03996101630899729, 0.8854195190733943]),
        (1001, 1, 0, [0.2558361533999022, 0.6242137913988122, 0.477234573486486]),
        (1001, 0, 7, [0.6065949629195121, 0.29623216503290317, 0.39053773116845036]),
        (2**53 - 1, 1, 32 * 10**12 - 1, [0.8464785242809633, 0.26652384520691463, 0.9752254740624438]),
    ],
)
def test_the_streams_never_change(seed: int, purpose: int, sample_id: int, expected: list[float]) -> None:
    assert stream(seed, purpose, sample_id).random(3).tolist() == expected


IDS = st.lists(st.integers(0, 32 * 10**12), min_size=1, max_size=5)
STEPS = st.lists(st.integers(0, 9), min_size=1, max_size=6)


@given(seed=st.integers(0, 2**53 - 1), ids=IDS, steps=STEPS, purpose=st.sampled_from([PARAMETERS, NOISE]))
@settings(max_examples=100, deadline=None)
def test_streams_give_the_numbers_of_numpys_generators(
    seed: int, ids: list[int], steps: list[int], purpose: int
) -> None:
    streams = Streams(seed, purpose, np.array(ids))
    generators = [stream(seed, purpose, one) for one in ids]
    for step in steps:
        assert streams.random(step).tolist() == [one.random(step).tolist() for one in generators]
        counts = (np.arange(len(ids)) + step) % 4
        ragged = [one.random((int(c), step)) for one, c in zip(generators, counts, strict=True)]
        assert streams.ragged(counts, step).tolist() == np.concatenate(ragged).tolist()


def test_some_of_the_streams_go_on_where_all_of_them_were() -> None:
    streams = Streams(5, PARAMETERS, np.arange(4))
    streams.random(3)
    some = streams.subset(np.array([2, 0]))
    expected = [stream(5, PARAMETERS, i).random(8)[3:].tolist() for i in (2, 0)]
    assert some.random(5).tolist() == expected
    assert len(some) == 2
    assert streams.random(5)[[2, 0]].tolist() == expected


def test_samples_purposes_and_seeds_have_streams_of_their_own() -> None:
    keys = [(seed, p, i) for seed in (0, 1) for p in (PARAMETERS, NOISE) for i in (0, 1, 2)]
    firsts = [tuple(stream(*key).random(4)) for key in keys]
    assert len({value for first in firsts for value in first}) == 4 * len(keys)


def test_another_seed_makes_another_data_set() -> None:
    other = render(load_recipe("tiny", [*SMALL, "seed=1002"]), np.arange(6))
    assert (other.label == WHOLE["tiny"].label[:6]).all()
    assert not np.isclose(other.params[:, 0], WHOLE["tiny"].params[:6, 0]).any()


def test_all_samples_differ() -> None:
    assert len({image.tobytes() for image in WHOLE["tiny"].image}) == EVERY


def test_classes_take_turns() -> None:
    assert WHOLE["tiny"].label.tolist() == [i % 3 for i in range(EVERY)]


def test_arrays_have_the_types_of_a_store() -> None:
    types = {name: values.dtype.name for name, values in WHOLE["tiny"].arrays().items()}
    assert types == {"image": "float32", "label": "int32", "sample_id": "int64", "params": "float64"}
