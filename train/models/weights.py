"""Trained weights to start from: timm's by name, from the cache or the network, or a local file.

Nothing is unpickled: safetensors hold no code, and torch's own files are read with `weights_only=True`. The
first convolution is fitted to the channels of the data and position embeddings to their size, both by timm.
The last layer is always new.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import timm
import torch
from timm.models import adapt_input_conv, load_state_dict
from torch import Tensor, nn

from schemas.errors import DataError, RunError
from schemas.experiment import ModelOptions
from schemas.run import InitialWeights
from train.models.image_size import OtherSizeError, first_line, sketch
from train.models.registry import Shape, create

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
# in this order on the hub
HUB_FILES = ("model.safetensors", "pytorch_model.bin")
SECONDS_TO_CONNECT = 5
# so many of the names that do not fit are told
TOLD = 3
# in front of the names of tensors when a network was saved inside another module
PREFIXES = ("network.", "model.", "module.")


@dataclass(frozen=True)
class TrainedWeights:
    """Tensors by name, and where they are from."""

    tensors: dict[str, Tensor]
    origin: InitialWeights


def trained_weights(options: ModelOptions) -> TrainedWeights | None:
    """The weights that a recipe asks for; None from scratch."""
    if not options.pretrained:
        return None
    path = Path(options.weights) if options.weights is not None else named_file(options.name)
    tensors = read_tensors(path)
    source = options.weights or _with_tag(options.name)
    return TrainedWeights(tensors, InitialWeights(source=source, sha256=file_sha256(path)))


def check_same_weights(options: ModelOptions, started: InitialWeights | None, run: Path) -> None:
    """Refuse a finished run that started from what the file held before; a missing file tells nothing."""
    if started is None or options.weights is None or not Path(options.weights).is_file():
        return
    now = file_sha256(Path(options.weights))
    if now != started.sha256:
        raise RunError(
            f"{run} started from other weights: {options.weights} was {started.sha256[:12]} then",
            expected=f"the file of now, {now[:12]}",
            advice="choose another path, or move the old run away",
        )


def file_sha256(path: Path) -> str:
    """SHA-256 of a file without holding it in memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors of a file by name, without running anything that the file may hold."""
    if path.suffix not in SUFFIXES:
        raise DataError(
            f"cannot read weights from {path}", expected=f"a file ending in {', '.join(SUFFIXES)}"
        )
    if not path.is_file():
        raise DataError(
            f"there is no file {path}",
            expected="a file of trained weights",
            advice="correct model.weights, or train from scratch: --set model.pretrained=false",
        )
    try:
        found = load_state_dict(str(path), device="cpu", weights_only=True)
    except Exception as error:
        # what torch raises on foreign bytes is anything
        raise DataError(
            f"cannot read weights from {path}: {first_line(error)}",
            expected="tensors by name, as torch or safetensors save them, and nothing to be executed",
            advice="save them as safetensors where they were made: safetensors.torch.save_file",
        ) from error
    if not found or not all(isinstance(one, Tensor) for one in found.values()):
        raise DataError(f"{path} holds no tensors by name", expected="the state dict of a network")
    return _unwrapped(dict(found))


def _unwrapped(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in tensors):
            return {name.removeprefix(prefix): value for name, value in tensors.items()}
    return tensors


# -- timm's weights by name


def named_file(name: str) -> Path:
    """The file of timm's weights of this name: from the cache, or fetched into it."""
    wanted = _about(name) if timm.is_model(name) else None
    if wanted is None or not wanted.has_weights:
        with_weights = (
            ", ".join(timm.list_pretrained(f"{name.split('.')[0]}*")[:TOLD]) or "none of this family"
        )
        raise DataError(
            f"nobody published weights of {name!r} that timm knows of",
            expected=f"a name with weights, such as {with_weights}",
            advice="give a file as model.weights, or train from scratch: --set model.pretrained=false",
        )
    if not wanted.hf_hub_id:
        return _old_file(name, wanted.url)
    files = (wanted.hf_hub_filename,) if wanted.hf_hub_filename else HUB_FILES
    return _cached(wanted.hf_hub_id, files) or _fetched(name, wanted.hf_hub_id, files)


def _cached(repository: str, files: tuple[str, ...]) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    identity, _, revision = repository.partition("@")
    for file in files:
        found = try_to_load_from_cache(identity, file, revision=revision or None)
        if isinstance(found, str):
            return Path(found)
    return None


def _fetched(name: str, repository: str, files: tuple[str, ...]) -> Path:
    """Fetched at once or not at all: without a network the hub's own client tries for half a minute."""
    import huggingface_hub
    from huggingface_hub.errors import EntryNotFoundError

    identity, _, revision = repository.partition("@")
    try:
        if huggingface_hub.constants.HF_HUB_OFFLINE:
            raise ConnectionError("HF_HUB_OFFLINE is set")
        huggingface_hub.get_session().head(huggingface_hub.constants.ENDPOINT, timeout=SECONDS_TO_CONNECT)
        for file in files[:-1]:
            try:
                return Path(huggingface_hub.hf_hub_download(identity, file, revision=revision or None))
            except EntryNotFoundError:
                continue
        return Path(huggingface_hub.hf_hub_download(identity, files[-1], revision=revision or None))
    except Exception as error:
        # the errors of the hub's client differ between its releases
        raise _not_here(
            name,
            f"{files[0]} of https://huggingface.co/{identity}",
            huggingface_hub.constants.HF_HUB_CACHE,
            error,
        ) from error


def _old_file(name: str, url: Any) -> Path:
    """A few weights are on their authors' pages alone; torch's cache is looked at, nothing is fetched."""
    address = url if isinstance(url, str) else str(url[0])
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    path = folder / Path(urlparse(address).path).name
    if path.is_file():
        return path
    raise _not_here(name, address, str(folder), ConnectionError("not on the hub"))


def _not_here(name: str, file: str, cache: str, error: Exception) -> DataError:
    return DataError(
        f"the weights of {name!r} are not on this machine and cannot be fetched: {first_line(error)}",
        expected=f"{file}, in the cache or over the network",
        where=f"cache {cache}",
        advice="fetch that file elsewhere and give its path: --set model.weights=FILE; or train from scratch:"
        " --set model.pretrained=false",
    )


def _with_tag(name: str) -> str:
    wanted = _about(name)
    return f"{wanted.architecture}.{wanted.tag}" if wanted.tag else name


# -- into a network


def network_with(name: str, options: dict[str, int], shape: Shape, given: TrainedWeights) -> nn.Module:
    """timm's network with trained weights in all but its last layer.

    It is built with the last layer of the file, so that every name has to fit, and given its own after that.
    """
    found = _outputs_of_file(name, given.tensors)
    # names that only timm's own filter understands hide how many outputs there are
    for last in (found,) if found else (0, _about(name).num_classes):
        try:
            network = _loaded(name, options, shape.channels, last, given.tensors)
            break
        except RuntimeError as error:
            fault = error
    else:
        raise _misfit(name, str(fault), given.origin.source) from fault
    # timm would keep what it was given
    network.pretrained_cfg.pop("state_dict", None)
    network.reset_classifier(shape.outputs)
    return network


def _loaded(
    name: str, options: dict[str, int], channels: int, outputs: int, tensors: dict[str, Tensor]
) -> Any:
    overlay = {
        "state_dict": tensors,
        "num_classes": outputs,
        "label_offset": 0,
        "input_size": (_channels_of_file(name, options, tensors), *_about(name).input_size[1:]),
    }
    return create(name, channels, outputs, {**options, "pretrained": True, "pretrained_cfg_overlay": overlay})


def _about(name: str) -> Any:
    """What timm says of a network and its weights."""
    return timm.get_pretrained_cfg(name)


def _outputs_of_file(name: str, tensors: dict[str, Tensor]) -> int:
    heads = [tensors.get(f"{layer}.weight") for layer in _layers(name, "classifier")]
    return next((len(head) for head in heads if head is not None), 0)


def _channels_of_file(name: str, options: dict[str, int], tensors: dict[str, Tensor]) -> int:
    """How many channels the first convolution of the file takes; what timm says where that cannot be seen."""
    said: int = _about(name).input_size[0]
    for layer in _layers(name, "first_conv"):
        weight = tensors.get(f"{layer}.weight")
        module = sketch(name, options, channels=said).get_submodule(layer)
        # others rearrange pixels before they convolve
        plain = isinstance(module, nn.Conv2d) and module.weight.shape[1] == said
        if plain and weight is not None and weight.ndim == 4:
            return int(weight.shape[1])
    return said


def _layers(name: str, kind: str) -> tuple[str, ...]:
    found = getattr(_about(name), kind)
    return (found,) if isinstance(found, str) else tuple(found or ())


def load_into(network: nn.Module, name: str, channels: int, given: TrainedWeights) -> None:
    """Trained weights into one of our own networks, all but its last layer `head`."""
    fresh = network.state_dict()
    tensors = {key: value for key, value in given.tensors.items() if not key.startswith("head.")}
    tensors |= {key: value for key, value in fresh.items() if key.startswith("head.")}
    first = next((key for key, value in tensors.items() if value.ndim == 4), None)
    if first is not None:
        tensors[first] = adapt_input_conv(channels, tensors[first], base_chans=tensors[first].shape[1])
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        fault = _misfit(name, str(error), given.origin.source)
        raise fault if isinstance(fault, DataError) else DataError(str(fault)) from error


def _misfit(name: str, said: str, source: str) -> Exception:
    """Weights of another size may fit under another way to take the images; others never will."""
    lines = [line.strip() for line in said.splitlines()]
    wrong = [_shortened(line) for line in lines if line.startswith(("Missing key", "Unexpected key"))]
    mismatch = next((line for line in lines if line.startswith("size mismatch")), None)
    if mismatch and not wrong:
        return OtherSizeError(f"the weights of {source} do not fit model {name!r}: {mismatch}")
    return DataError(
        f"the weights of {source} are not those of model {name!r}: {'; '.join(wrong) or lines[0]}",
        expected=f"weights of {name!r}, under the names that it gives them",
        advice="correct model.name or model.weights",
    )


def _shortened(line: str) -> str:
    what, _, names = line.partition(": ")
    each = names.rstrip(". ").split(", ")
    more = f" and {len(each) - TOLD} more" if len(each) > TOLD else ""
    return f"{what.lower()}: {', '.join(each[:TOLD])}{more}"
