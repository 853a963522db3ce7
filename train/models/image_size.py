"""How a network of timm's is made to take the images of the data.

These ways are tried in order, and the first under which the network works and sees every pixel is taken:

1. The images as they are: any size if the network is convolutional, `img_size` otherwise. From scratch, a
   `patch_size` that divides the image into at least 8 x 8 patches, and a `window_size` that divides the maps.
   Trained weights belong to their patches and windows, so with them neither is changed.
2. Mirrored at the edges, up to a quarter larger: sky continues as sky, with the same noise and no step.
3. Resized to the nearest larger size, at most fourfold, or else to the nearest smaller one.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional

from schemas.errors import DataError
from schemas.run import NetworkInput
from train.models.registry import Shape, create

MOST_PADDING = 1.25
MOST_RESIZING = 4
FEWEST_PATCHES = 8
# smaller patches are the first of several stages
PLAIN_PATCH = 8
# what most stages halve an image down by
STEP = 32


class OtherSizeError(Exception):
    """Trained weights are for another size than the one tried."""


class SizedNetwork(nn.Module):
    """A network behind the padding or resizing that it needs."""

    def __init__(self, network: nn.Module, way: NetworkInput) -> None:
        super().__init__()
        self.network = network
        self.way = way

    def forward(self, images: Tensor) -> Tensor:
        output: Tensor = self.network(resized(images, self.way))
        return output


def resized(images: Tensor, way: NetworkInput) -> Tensor:
    """Images as the network wants them; their middle stays the middle, to half a pixel."""
    side = way.network_side
    if way.method == "padded":
        before = (side - way.image_side) // 2
        after = side - way.image_side - before
        return functional.pad(images, (before, after, before, after), mode="reflect")
    return functional.interpolate(images, size=(side, side), mode="bilinear", antialias=True)


def sized(network: nn.Module, way: NetworkInput) -> nn.Module:
    """The network, behind what its way of taking images needs."""
    return network if way.method == "unchanged" else SizedNetwork(network, way)


@dataclass(frozen=True)
class Original:
    """What a network of timm's was made for."""

    side: int
    told: bool  # whether it must be told the size
    patch: int | None
    window: int | None

    @property
    def plain(self) -> bool:
        """Whether its patches are the tokens of the whole network."""
        return self.patch is not None and self.patch >= PLAIN_PATCH


def original(name: str) -> Original:
    """Found on the meta device, where a network is built without its numbers."""
    wanted = timm.get_pretrained_cfg(name)
    side = wanted.input_size[-1] if wanted else 224
    told, network = True, None
    try:
        network = sketch(name, {"img_size": side})
    except TypeError:
        told = False
    except Exception:
        # what hundreds of authors raise is anything; the trial of the network itself will tell
        told = bool(wanted and wanted.fixed_input_size)
    window = re.search(r"window(\d+)", name)
    return Original(side, told, _patch_of(name, network), int(window[1]) if window else None)


def sketch(name: str, options: dict[str, int], channels: int = 3, outputs: int = 2) -> nn.Module:
    """A network without numbers: built in a tenth of a second, and it knows its shapes."""
    with torch.device("meta"):
        network: nn.Module = create(name, channels, outputs, options)
    return network


def _patch_of(name: str, network: nn.Module | None) -> int | None:
    projection = getattr(getattr(network, "patch_embed", None), "proj", None)
    found = re.search(r"_p(?:atch)?(\d+)", name)
    patch = int(found[1]) if found else None
    if isinstance(projection, nn.Conv2d) and projection.kernel_size == projection.stride:
        patch = projection.kernel_size[0]
    return patch


def ways(known: Original, side: int, scratch: bool) -> Iterator[NetworkInput]:
    """All ways to try, the best first."""
    # windows must divide the maps of every stage
    larger = _sizes(known, side + 1, int(MOST_PADDING * side), coarse=known.window is not None)
    steps = _sizes(known, side + 1, min(MOST_RESIZING * side, known.side), coarse=True)
    smaller = _sizes(known, max(1, side // MOST_RESIZING), min(side - 1, known.side), coarse=True)
    sizes: chain[tuple[str, int]] = chain(
        [("unchanged", side)],
        (("padded", size) for size in larger),
        (("resized", size) for size in steps),
        (("resized", size) for size in reversed(smaller)),
    )
    for method, size in sizes:
        for options in _options(known, size, scratch):
            yield NetworkInput(
                method=method,  # type: ignore[arg-type]
                image_side=side,
                network_side=size,
                options=options,
            )


def _sizes(known: Original, low: int, high: int, coarse: bool = False) -> list[int]:
    """Sizes that networks like: like the one it was made for, in whole patches, in steps of 32 (or 8)."""
    step = STEP if coarse else 8

    def liked(size: int) -> bool:
        whole = known.plain and size % (known.patch or 1) == 0
        return size % step == 0 or (known.side - size) % STEP == 0 or whole or 2 * size == known.side

    return [size for size in range(low, high + 1) if liked(size)]


def _options(known: Original, side: int, scratch: bool) -> list[dict[str, int]]:
    if not known.told:
        return [{}]
    plain = {"img_size": side}
    chosen = dict(plain)
    if scratch and known.plain and known.patch is not None:
        chosen["patch_size"] = patch_for(side, known.patch)
    if scratch and known.window is not None:
        chosen["window_size"] = window_for(side, known.window)
    changed = {"patch_size": known.patch, "window_size": known.window}
    chosen = {name: value for name, value in chosen.items() if changed.get(name) != value}
    return [chosen] if chosen == plain else [chosen, plain]


def patch_for(side: int, patch: int) -> int:
    """The largest patch, up to the network's own, of which at least 8 x 8 make up the image; or its own."""
    whole = [one for one in range(2, patch + 1) if side % one == 0 and side // one >= FEWEST_PATCHES]
    return max(whole, default=patch)


def window_for(side: int, window: int, first: int = 4, stages: int = 4) -> int:
    """The window nearest the network's own that divides most of its maps; smaller maps are one window."""
    maps = [side // (first * 2**stage) for stage in range(stages)]

    def waste(one: int) -> tuple[int, int]:
        return sum(size > one and size % one > 0 for size in maps), abs(one - window)

    return min(range(max(2, window // 2), 2 * window + 1), key=waste)


def take_images(
    name: str, shape: Shape, make: Callable[[dict[str, int]], nn.Module], scratch: bool = True
) -> tuple[nn.Module, NetworkInput]:
    """The network that `make` makes of timm's options, under the first way that works."""
    known = original(name)
    faults: list[Exception | None] = []
    misfit: OtherSizeError | None = None
    numbers = torch.get_rng_state()
    for way in ways(known, shape.side, scratch):
        # weights that do not fit one size fit the one they were made for, or none
        if misfit and way.network_side != known.side:
            continue
        fault = _fault_of_sketch(name, known, way, shape)
        if fault is None:
            # first weights that do not depend on how many ways were tried
            torch.set_rng_state(numbers)
            network, fault = _tried(make, way, shape)
            if network is not None:
                return network, way
            misfit = fault if isinstance(fault, OtherSizeError) else misfit
        faults.append(fault)
    if misfit:
        raise DataError(str(misfit), expected=f"weights of {name!r}", advice="correct model.name")
    raise DataError(
        f"model {name!r} cannot take images of {shape.side} x {shape.side} pixels: {first_line(faults[0])}",
        expected=f"a model whose input size can be met; it was made for {known.side} x {known.side}",
        advice="choose another model (`lensmill models`), or simulate images of a size that it takes",
    )


def _tried(
    make: Callable[[dict[str, int]], nn.Module], way: NetworkInput, shape: Shape
) -> tuple[nn.Module | None, Exception | None]:
    try:
        network = sized(make(way.options), way)
        check(network, shape)
    except DataError:
        raise
    except Exception as error:
        return None, error
    return network, None


def _fault_of_sketch(name: str, known: Original, way: NetworkInput, shape: Shape) -> Exception | None:
    """Why a way cannot work, at little cost; None if it may."""
    side = way.network_side
    if side % (way.options.get("patch_size") or known.patch or 1):
        return ValueError(f"{side} pixels are no whole number of patches")
    try:
        network = sketch(name, way.options, shape.channels, shape.outputs).eval()
        network(torch.zeros(2, shape.channels, side, side, device="meta"))
    except NotImplementedError:
        return None  # the meta device lacks an operation
    except Exception as error:
        return None if "meta" in str(error) else error
    return None


def check(network: nn.Module, shape: Shape) -> None:
    """Raise unless a network gives finite outputs and looks at every pixel.

    Two of three images have NaN in their last row or column. NaN spreads to the output from any pixel that is
    looked at, so an edge that is cut off shows.
    """
    images = torch.zeros(3, shape.channels, shape.side, shape.side)
    images[1, :, -1, :] = images[2, :, :, -1] = torch.nan
    network.eval()
    with torch.no_grad():
        outputs = network(images)
    network.train()
    if outputs.shape != (3, shape.outputs):
        raise ValueError(f"it gives {tuple(outputs.shape)} for three images")
    if not torch.isfinite(outputs[0]).all():
        raise ValueError("it gives no finite number for an empty image")
    if torch.isfinite(outputs[1:]).all(dim=1).any():
        raise ValueError("it would cut off the last pixels")


def first_line(error: Exception | None) -> str:
    """What an error says, short; its kind where it says nothing."""
    return (str(error) or type(error).__name__).splitlines()[0]
