"""Pictures of samples and of what a network looks at."""

import numpy as np

from train.report.insight_figures import MeanMaps, draw_map, draw_mean_maps, draw_sample, shown, strength


def test_a_spot_is_where_it_is_in_the_image() -> None:
    image = np.zeros((2, 20, 20), np.float32)
    image[:, 15:18, 2:5] = 10
    values = shown(image)
    # rows of the sky go upwards, those of a picture down
    assert np.all(values[2:5, 2:5] == 1)
    assert values.sum() == 9
    pixels = np.asarray(draw_sample(image)).astype(int)
    assert pixels.shape == (200, 200, 3)
    assert pixels[20:50, 20:50].sum(axis=2).min() > pixels[60:, 60:].sum(axis=2).max()


def test_a_map_colours_its_place_alone() -> None:
    image = np.ones((1, 24, 24), np.float32)
    weights = np.zeros((24, 24))
    weights[20:, 20:] = 1 / 16
    pixels = np.asarray(draw_map(image, weights)).astype(int)
    colourful = np.ptp(pixels, axis=2) > 40
    assert colourful[: 4 * 8, 20 * 8 :].all()
    assert colourful.sum() == 32 * 32


def test_flat_images_and_maps_are_drawn() -> None:
    assert np.isfinite(shown(np.ones((1, 8, 8), np.float32))).all()
    assert not strength(np.full((8, 8), 1 / 64)).any()


def test_mean_maps_have_a_row_a_class() -> None:
    rng = np.random.default_rng(1)
    rows = [
        MeanMaps(
            name, 8, rng.normal(size=(1, 16, 16)).astype(np.float32), {"gradients": rng.random((16, 16))}
        )
        for name in ("no_sub", "vortex")
    ]
    figure = draw_mean_maps(rows)
    assert len(figure.axes) == 4
    assert [axis.get_ylabel() for axis in figure.axes[::2]] == [
        "no_sub, 8 images",
        "vortex, 8 images",
    ]
    assert [axis.get_title() for axis in figure.axes[:2]] == ["mean image", "gradients"]
