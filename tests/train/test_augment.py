"""Turns and mirrors are exact, each image gets its own motion, and smooth motions are what they say."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from schemas.preparation import Augmentation
from storage.reader import Store
from train.augment import Motion, augmented, draw_motion, moved

BOTH = Augmentation(quarter_turns=True, flips=True)


def _images(count: int = 200, channels: int = 2) -> Tensor:
    """No two images, and no two of the eight symmetries of one, are the same."""
    return torch.arange(count * channels * 16, dtype=torch.float32).reshape(count, channels, 4, 4)


def _symmetries(image: Tensor) -> list[Tensor]:
    turned = [torch.rot90(image, count, dims=(-2, -1)) for count in range(4)]
    return turned + [one.flip(-1) for one in turned]


def _chosen(images: Tensor, result: Tensor) -> list[int]:
    """Which of its eight symmetries each image became; fails where it is none of them."""
    chosen = []
    for image, found in zip(images, result, strict=True):
        matches = [k for k, one in enumerate(_symmetries(image)) if torch.equal(one, found)]
        assert len(matches) == 1
        chosen += matches
    return chosen


@pytest.mark.parametrize(
    ("options", "possible"),
    [
        (BOTH, set(range(8))),
        (Augmentation(quarter_turns=True), {0, 1, 2, 3}),
        (Augmentation(flips=True), {0, 4}),
    ],
    ids=["both", "turns", "flips"],
)
def test_every_image_becomes_one_of_its_own_symmetries(options: Augmentation, possible: set[int]) -> None:
    torch.manual_seed(1)
    images = _images()
    before = images.clone()
    chosen = _chosen(images, augmented(images, options))
    assert set(chosen) == possible
    # each about as often as the others: 5 sigma of a fair draw
    share = len(images) / len(possible)
    assert all(abs(chosen.count(k) - share) < 5 * share**0.5 for k in possible)
    assert torch.equal(images, before), "the resident samples were changed"


def test_without_augmentation_the_images_are_the_same() -> None:
    images = _images()
    assert augmented(images, Augmentation()) is images


def test_the_seed_decides() -> None:
    images = _images()
    results = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        results.append(augmented(images, BOTH))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_whatever_has_a_direction_is_known_to_turn(sound: Store) -> None:
    turning = {column.name for column in sound.plan.columns if column.turns}
    assert {"e1", "e2", "center_x", "gamma1", "source_center_y", "vortex_angle_rad"} <= turning
    assert not turning & {"theta_E", "z_lens", "source_magnitude", "axion_mass_ev", "subhalo_count"}


def _motion(count: int, **changes: Tensor) -> Motion:
    still = draw_motion(count, Augmentation())
    return replace(still, **changes)


def test_no_motion_moves_nothing() -> None:
    images = torch.rand(3, 2, 12, 17)
    assert torch.allclose(moved(images, _motion(3), interpolates=True), images, atol=1e-6)


def test_what_comes_into_view_is_the_image_mirrored_at_its_edge() -> None:
    image = torch.arange(36.0).reshape(1, 1, 6, 6)
    shifted = moved(image, _motion(1, shift=torch.tensor([[2.0, 0.0]]).double()), interpolates=True)
    assert torch.allclose(shifted[0, 0, 0], torch.tensor([1.0, 0, 0, 1, 2, 3]), atol=1e-4)
    upwards = moved(image, _motion(1, shift=torch.tensor([[0.0, 1.0]]).double()), interpolates=True)
    assert torch.allclose(upwards[0, 0, :, 0], torch.tensor([0.0, 0, 6, 12, 18, 24]), atol=1e-4)


def test_scaling_keeps_surface_brightness() -> None:
    y, x = torch.meshgrid(torch.arange(64) - 31.5, torch.arange(64) - 31.5, indexing="ij")
    image = torch.exp(-0.5 * (x**2 + y**2) / 16)[None, None]
    grown = moved(image, _motion(1, scale=torch.tensor([1.5]).double()), interpolates=True)
    assert float(grown.max()) == pytest.approx(1.0, rel=0.02)
    assert float(grown.sum()) == pytest.approx(1.5**2 * float(image.sum()), rel=0.01)


def test_motions_stay_within_what_was_asked_for() -> None:
    options = Augmentation(rotation_degrees=10, shift_pixels=3, scale={"low": 0.8, "high": 1.25})
    motion = draw_motion(4000, options, torch.Generator().manual_seed(1))
    assert not motion.quarters.any()
    assert not motion.mirrored.any()
    assert 9.9 < float(motion.angle.abs().max()) * 180 / torch.pi <= 10
    assert 2.9 < float(motion.shift.abs().max()) <= 3
    assert 0.8 <= float(motion.scale.min()) < 0.81
    assert 1.24 < float(motion.scale.max()) <= 1.25
    # as often larger as smaller, and each axis its own
    assert abs(float(motion.scale.log().mean())) < 0.01
    assert abs(float(torch.corrcoef(motion.shift.T)[0, 1])) < 0.08


def test_a_stream_is_continued_where_it_was_left() -> None:
    images, stream = _images(), torch.Generator().manual_seed(3)
    augmented(images, BOTH, stream)
    state = stream.get_state()
    later = augmented(images, BOTH, stream)
    torch.rand(5)  # the global stream has no part in it
    resumed = torch.Generator()
    resumed.set_state(state)
    assert torch.equal(augmented(images, BOTH, resumed), later)


def test_one_option_does_not_change_what_another_draws() -> None:
    turned = draw_motion(50, Augmentation(quarter_turns=True), torch.Generator().manual_seed(2))
    both = draw_motion(50, Augmentation(quarter_turns=True, shift_pixels=2), torch.Generator().manual_seed(2))
    assert torch.equal(turned.quarters, both.quarters)
