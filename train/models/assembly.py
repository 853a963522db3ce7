"""From a name to a network that takes the images of the data, with trained weights if they are asked for."""

import logging
from dataclasses import dataclass

from torch import nn

from schemas.errors import DataError
from schemas.experiment import ModelOptions
from schemas.run import InitialWeights, NetworkInput
from train.models.image_size import check, sized, take_images
from train.models.registry import MODELS, Shape, check_name, create
from train.models.weights import TrainedWeights, load_into, network_with, trained_weights

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Assembled:
    """A network, how it takes the images, and what it starts from."""

    network: nn.Module
    way: NetworkInput
    weights: InitialWeights | None


def assemble(options: ModelOptions, shape: Shape) -> Assembled:
    """The network of a recipe; known to take these images, to see all of them and to give these outputs."""
    name = options.name
    check_name(name)
    given = trained_weights(options)
    if name in MODELS:
        network, way = _ours(name, shape, given)
    else:

        def make(told: dict[str, int]) -> nn.Module:
            return _timms(name, told, shape) if given is None else network_with(name, told, shape, given)

        network, way = take_images(name, shape, make, scratch=given is None)
    LOG.info("%s: %s", name, way)
    if given is not None:
        LOG.info("%s: %s", name, given.origin)
    return Assembled(network, way, given.origin if given else None)


def build(name: str, shape: Shape) -> nn.Module:
    """A freshly initialised network that is known to take these images and to give these outputs."""
    check_name(name)
    return assemble(ModelOptions(name=name), shape).network


def rebuild(name: str, shape: Shape, way: NetworkInput | None) -> nn.Module:
    """The network that a run describes, without its weights; of runs from before, as it was built then."""
    check_name(name)
    if name in MODELS:
        return MODELS[name](shape)
    if way is not None:
        return sized(_timms(name, way.options, shape), way)
    try:
        return _timms(name, {"img_size": shape.side}, shape)
    except TypeError:
        return _timms(name, {}, shape)


def _timms(name: str, told: dict[str, int], shape: Shape) -> nn.Module:
    network: nn.Module = create(name, shape.channels, shape.outputs, told)
    return network


def _ours(name: str, shape: Shape, given: TrainedWeights | None) -> tuple[nn.Module, NetworkInput]:
    network = MODELS[name](shape)
    try:
        check(network, shape)
    except Exception as error:
        raise DataError(
            f"model {name!r} cannot take images of {shape.side} x {shape.side} pixels: {error}",
            advice="choose another model (`lensmill models`)",
        ) from error
    if given is not None:
        load_into(network, name, shape.channels, given)
    return network, NetworkInput(method="unchanged", image_side=shape.side, network_side=shape.side)
