"""Targets that follow their image: places, ellipticities, shears, directions, lengths, magnitudes.

The law of each column is in the schema of its quantity (`schemas.quantity.Law`). Half of a pair is enough as
a target: the other half, and the shear that a shifted source needs, travel with the batch.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from schemas.errors import RecipeError
from schemas.experiment import ExperimentRecipe
from schemas.imported import ImportedData
from schemas.laws import laws_of
from schemas.preparation import Augmentation
from schemas.quantity import Law
from schemas.run import FittedTarget, Head, RegressorHead
from storage.reader import Store
from train.augment import Motion
from train.data import Samples

PARTNERS: dict[Law, tuple[Law, str, str]] = {
    "x": ("y", "x", "y"),
    "y": ("x", "y", "x"),
    "source_x": ("source_y", "x", "y"),
    "source_y": ("source_x", "y", "x"),
    "offset_x": ("offset_y", "x", "y"),
    "offset_y": ("offset_x", "y", "x"),
    "ellipse_1": ("ellipse_2", "1", "2"),
    "ellipse_2": ("ellipse_1", "2", "1"),
}
SHEAR = ("gamma1", "gamma2")
PERIODS: dict[Law | None, float] = {"angle": 2 * math.pi, "handed_angle": 2 * math.pi, "axis": math.pi}
SCALED = ("length", "magnitude", "fixed", "angle", "axis", "handed_angle", *PARTNERS)


def check_targets(options: Augmentation, names: Sequence[str], store: Store) -> None:
    """Refuse to move images under targets that cannot follow; all of them are named."""
    if not (options.turns or options.interpolates):
        return
    laws, turning = _laws(store), {one.name for one in store.plan.columns if one.turns}
    refused = [
        f"{name} ({reason})"
        for name in names
        if (reason := _refusal(options, name, laws.get(name), name in turning, store))
    ]
    if refused:
        raise RecipeError(
            f"augmentation moves images, but not the target {', nor '.join(refused)}",
            expected="augmentation under which every target stays the same or is known to follow",
            where="augmentation, objective.targets",
            advice="leave out that part of the augmentation, or that target",
        )


def _laws(store: Store) -> dict[str, Law]:
    """The law of each column that has one; nobody said how columns of imported data follow."""
    return {} if isinstance(store.stored.recipe, ImportedData) else laws_of(store.recipe)


def _refusal(options: Augmentation, name: str, law: Law | None, turning: bool, store: Store) -> str:
    """Why a target cannot follow; empty when it can."""
    known = {column.name for column in store.plan.columns}
    if options.turns and turning and law is None:
        return "it changes when an image is turned, and nobody said how"
    if options.flips and law == "handed_angle":
        return "what it turns has no mirror image in the data: set flips to false"
    if options.scale is not None and law not in SCALED:
        return "it has no meaning when an image is scaled: leave scale out"
    if options.shift_pixels and law is None and turning:
        return "it changes with the place, and nobody said how: set shift_pixels to 0"
    if options.shift_pixels and law in ("source_x", "source_y") and "source_state" in known:
        return "some sources are not lensed, and shift otherwise: set shift_pixels to 0"
    if options.shift_pixels and law in ("source_x", "source_y") and store.recipe.deflection_convention:
        return "the recipe rescales the shear that it would follow: set shift_pixels to 0"
    if law in PARTNERS and (partner := partner_of(name, law)) not in known:
        return f"its other half {partner} is not in the store"
    return ""


def partner_of(name: str, law: Law) -> str:
    """The other half of a pair: center_y for center_x."""
    _, own, other = PARTNERS[law]
    return name[: -len(own)] + other


def period_of(store: Store, name: str) -> float | None:
    """After how many radians a direction is the same again."""
    return PERIODS.get(_laws(store).get(name))


def motion_of(experiment: ExperimentRecipe, head: Head, store: Store) -> "TargetMotion | None":
    """How the targets of an experiment move with its images; None where nothing moves or is measured."""
    options = experiment.augmentation
    if not isinstance(head, RegressorHead) or not (options.turns or options.interpolates):
        return None
    return TargetMotion(options, head.targets, store)


class TargetMotion:
    """Moves the encoded targets of a batch as its images were moved.

    A row is the encoded targets followed by the companions that their laws ask for, in physical units.
    """

    def __init__(self, options: Augmentation, targets: Sequence[FittedTarget], store: Store) -> None:
        laws = _laws(store)
        self.targets = tuple(targets)
        self.laws = [laws.get(one.target.column) for one in targets]
        # of no use without a law, which imported data do not have
        self.pixel = store.pixel_scale_arcsec or 0.0
        self.shifts = options.shift_pixels > 0
        self.moving = [k for k, law in enumerate(self.laws) if law not in (None, "fixed")]
        self.companions = self._wanted()

    def _wanted(self) -> list[str]:
        names = []
        for one, law in zip(self.targets, self.laws, strict=True):
            if law in PARTNERS:
                names.append(partner_of(one.target.column, law))
            if law in ("source_x", "source_y") and self.shifts:
                names += SHEAR
        return sorted(set(names))

    def joined(self, target: Tensor, store: Store, samples: Samples) -> Tensor:
        """Encoded targets with the companions beside them."""
        if not self.companions:
            return target
        names = [column.name for column in store.plan.columns]
        # zero for a shear that a recipe does not have
        columns = [
            samples.params[:, names.index(name)] if name in names else np.zeros(len(samples))
            for name in self.companions
        ]
        return torch.cat([target, torch.from_numpy(np.stack(columns, 1).astype(np.float32))], dim=1)

    def __call__(self, target: Tensor, motion: Motion) -> Tensor:
        """The encoded targets after the motion, without companions."""
        count = len(self.targets)
        values = target.double()
        known = dict(zip(self.companions, values[:, count:].T, strict=True))
        known |= {one.target.column: self._physical(k, values[:, k]) for k, one in enumerate(self.targets)}
        after = values[:, :count].clone()
        for k in self.moving:
            name, law = self.targets[k].target.column, self.laws[k]
            assert law is not None
            after[:, k] = self._encoded(k, self._followed(name, law, known, motion))
        return after.to(target.dtype)

    def _followed(self, name: str, law: Law, known: dict[str, Tensor], motion: Motion) -> Tensor:
        value = known[name]
        matrix, scale = motion.matrix.to(value), motion.scale.to(value)
        if law == "length":
            return value * scale
        if law == "magnitude":
            return value - 5 * torch.log10(scale)
        if law in ("angle", "axis", "handed_angle"):
            # the direction of a vector that was moved
            vector = torch.stack([value.cos(), value.sin()], 1)
            x, y = (matrix @ vector[:, :, None]).squeeze(2).unbind(1)
            return torch.atan2(y, x) % PERIODS[law]
        other = known[partner_of(name, law)]
        first = law in ("x", "source_x", "offset_x", "ellipse_1")
        pair = torch.stack([value, other] if first else [other, value], 1)
        if law in ("ellipse_1", "ellipse_2"):
            pair = _turned_ellipse(pair, matrix / scale[:, None, None])
        else:
            pair = (matrix @ pair[:, :, None]).squeeze(2) + self._shift(law, known, matrix, motion)
        return pair[:, 0 if first else 1]

    def _shift(self, law: Law, known: dict[str, Tensor], matrix: Tensor, motion: Motion) -> Tensor:
        """How far a place moves. A source does less than its image: the shear stays about the middle."""
        shift = motion.shift.to(matrix) * self.pixel
        if law in ("x", "y"):
            return shift
        if law in ("offset_x", "offset_y") or not self.shifts:
            return torch.zeros_like(shift)
        unscaled = matrix / motion.scale.to(matrix)[:, None, None]
        gamma = _turned_ellipse(torch.stack([known[name] for name in SHEAR], 1), unscaled)
        bent = torch.stack([gamma[:, 0] * shift[:, 0] + gamma[:, 1] * shift[:, 1],
                            gamma[:, 1] * shift[:, 0] - gamma[:, 0] * shift[:, 1]], 1)  # fmt: skip
        return shift - bent

    def _physical(self, k: int, encoded: Tensor) -> Tensor:
        one = self.targets[k]
        learned = encoded * one.spread + one.mean
        return 10.0**learned if one.target.transform == "log10" else learned

    def _encoded(self, k: int, value: Tensor) -> Tensor:
        one = self.targets[k]
        learned = value.log10() if one.target.transform == "log10" else value
        return (learned - one.mean) / one.spread


def _turned_ellipse(pair: Tensor, orthogonal: Tensor) -> Tensor:
    """O E O^T for E = [[e1, e2], [e2, -e1]]: twice the angle, and e2 changes sign in a mirror."""
    first, second = pair.unbind(1)
    symmetric = torch.stack([torch.stack([first, second], 1), torch.stack([second, -first], 1)], 1)
    turned = orthogonal @ symmetric @ orthogonal.transpose(1, 2)
    return torch.stack([turned[:, 0, 0], turned[:, 0, 1]], 1)
