"""The prior, instrument and noise model that `docs/extending.md` adds: their text is run as it stands."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

import schemas.instrument
import schemas.priors
import simulate.instruments
import simulate.noise
import simulate.quantiles
from flows.catalogue import load_recipe
from schemas.columns import column_faults, columns_of
from schemas.priors import Fixed
from simulate import streams
from simulate.draw import draw
from simulate.instruments import PRESETS
from simulate.noise import NOISES
from simulate.quantiles import QUANTILES, quantile
from simulate.render import noise_free, render

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"
BLOCK = re.compile(r"^```py\n(.*?)^```", re.MULTILINE | re.DOTALL)


def run(heading: str, *places: Any) -> Iterator[None]:
    """Each piece of a section in the module it goes into; what it leaves there is taken away afterwards."""
    section = PAGE.read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    before = [(place, set(vars(place))) for place in places]
    added: dict[str, Any] = {}
    for text, (place, known) in zip(BLOCK.findall(section), before, strict=True):
        # what the page says to import
        vars(place).update(added)
        exec(compile(text, heading, "exec"), vars(place))  # noqa: S102
        added |= {name: value for name, value in vars(place).items() if name not in known}
    yield
    for place, known in before:
        for name in set(vars(place)) - known:
            delattr(place, name)


@pytest.fixture
def triangular() -> Iterator[Any]:
    for _ in run("A prior", schemas.priors, simulate.quantiles):
        yield vars(schemas.priors)["Triangular"]
    del QUANTILES["triangular"]


@pytest.fixture
def des() -> Iterator[None]:
    yield from run("An instrument", simulate.instruments)
    del PRESETS["des_i"]


@pytest.fixture
def gaussian() -> Iterator[Any]:
    vars(simulate.noise)["stream"] = streams.stream
    for _ in run("A noise model", schemas.instrument, simulate.noise):
        yield vars(schemas.instrument)["GaussianNoise"]
    del NOISES["gaussian"]
    delattr(simulate.noise, "stream")


def test_the_prior_is_drawn(triangular: Any) -> None:
    drawn = quantile(triangular(low=1.0, high=3.0), np.random.default_rng(3).random(5000))
    assert stats.kstest(drawn, stats.triang(0.5, 1, 2).cdf).pvalue > 1e-3


@pytest.mark.usefixtures("des")
def test_the_instrument_has_all_numbers() -> None:
    assert set(PRESETS["euclid_vis"]()) <= set(PRESETS["des_i"]())


def test_the_noise_model_makes_noise_of_its_column(gaussian: Any) -> None:
    small = load_recipe("tiny", ["image_factor=3"])
    recipe = small.model_copy(update={"noise": gaussian(noise_rms=Fixed(value=0.02))})
    ids = np.arange(30)
    rendered = render(recipe, ids)
    names = [column.name for column in columns_of(recipe)]
    assert column_faults(columns_of(recipe), rendered.params, rendered.label) == []
    assert set(rendered.params[:, names.index("noise_rms")]) == {0.02}
    noise = rendered.image[:, 0] / 3 - noise_free(recipe, draw(recipe, ids))
    assert stats.kstest(noise.ravel(), stats.norm(0, 0.02).cdf).pvalue > 1e-3
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.15
    np.testing.assert_array_equal(render(recipe, ids[7:9]).image, rendered.image[7:9])
