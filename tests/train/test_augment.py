"""Turns and mirrors are exact, each image gets its own, and targets that would turn are refused."""

import pytest
import torch
from torch import Tensor

from schemas.columns import ColumnSpec
from schemas.errors import RecipeError
from schemas.experiment import Augmentation
from storage.reader import Store
from train.augment import augmented, check_targets

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


def _column(store: Store, name: str) -> ColumnSpec:
    return next(column for column in store.plan.columns if column.name == name)


@pytest.mark.parametrize("options", [BOTH, Augmentation(quarter_turns=True), Augmentation(flips=True)])
def test_targets_that_turn_are_refused(sound: Store, options: Augmentation) -> None:
    theta_e, e1 = _column(sound, "theta_E"), _column(sound, "e1")
    check_targets(options, [theta_e])
    with pytest.raises(RecipeError, match="not the target e1"):
        check_targets(options, [theta_e, e1])
    check_targets(Augmentation(), [theta_e, e1])


def test_whatever_has_a_direction_is_known_to_turn(sound: Store) -> None:
    turning = {column.name for column in sound.plan.columns if column.turns}
    assert {"e1", "e2", "center_x", "gamma1", "source_center_y", "vortex_angle_rad"} <= turning
    assert not turning & {"theta_E", "z_lens", "source_magnitude", "axion_mass_ev", "subhalo_count"}
