"""A batch that does not fit into memory is worked on in portions, whose gradients add up to the same step."""

import logging
from collections.abc import Callable
from itertools import pairwise
from typing import TypeVar

import torch
from lightning.pytorch.utilities.memory import garbage_collection_cuda, is_oom_error

from schemas.errors import ResourceError, first_line

LOG = logging.getLogger(__name__)
Result = TypeVar("Result")


class Portions:
    """How many samples are worked on at once: all of a batch until one does not fit."""

    def __init__(self, what: str, may_halve: bool = True) -> None:
        self.what = what
        self.may_halve = may_halve
        self.most: int | None = None

    def over(self, count: int, work: Callable[[list[slice]], Result]) -> Result:
        """What `work` makes of the parts of a batch, tried with ever smaller ones until they fit."""
        numbers = torch.get_rng_state()
        while True:
            try:
                return work(self.parts(count))
            except RuntimeError as error:
                if not is_oom_error(error):
                    raise
                said = first_line(error)
            # only here has the error let go of the tensors on its way
            self._halve(count, said)
            torch.set_rng_state(numbers)

    def parts(self, count: int) -> list[slice]:
        """The samples of a batch in portions of nearly the same size."""
        pieces = -(-count // min(self.most or count, count))
        edges = [count * one // pieces for one in range(pieces + 1)]
        return [slice(first, last) for first, last in pairwise(edges)]

    def _halve(self, count: int, said: str) -> None:
        size = min(self.most or count, count)
        if size < 2 or not self.may_halve:
            raise ResourceError(
                f"{size} image{'s' * (size > 1)} at once do not fit into memory: {said}",
                expected="a batch that fits" if size > 1 else "an image that fits",
                where="training.batch_size, model.name",
                advice="lower training.batch_size" if size > 1 else "choose a smaller model",
            )
        self.most = size // 2
        garbage_collection_cuda()
        LOG.warning(
            "%s: %d images at once do not fit into memory, so batches are worked on %d at a time",
            self.what,
            size,
            self.most,
        )
