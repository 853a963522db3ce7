"""Each family steps at 64 and 150; the ways to take images do what they say."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from schemas.errors import DataError, RunError
from schemas.experiment import ExperimentRecipe, ModelOptions
from schemas.run import NetworkInput
from train.evaluate import evaluate
from train.fit import finished, fit
from train.models import assemble, build, rebuild
from train.models.families import FAMILIES, facts, families, found_out
from train.models.image_size import SizedNetwork, patch_for, resized, take_images, window_for
from train.models.registry import Shape
from train.predict import predict
from train.records.run_folder import load_run, read_record

# seconds and not parts of one, built and stepped at both sizes
BIG = {
    "beit_base_patch16_224",
    "swinv2_tiny_window8_256",
    "vit_small_patch16_224",
    "deit_small_patch16_224",
    "deit_tiny_patch16_224",
    "efficientformer_l1",
    "pvt_v2_b2",
    "tnt_s_patch16_224",
    "focalnet_tiny_srf",
    "cait_xxs24_224",
    "coat_lite_small",
    "coat_tiny",
    "coatnet_nano_rw_224",
    "crossvit_tiny_240",
    "swinv2_cr_tiny_224",
    "twins_svt_small",
    "twins_pcpvt_small",
    "maxvit_pico_rw_256",
    "maxvit_tiny_tf_224",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnext50_32x4d",
    "inception_v3",
    "inception_v4",
    "inception_resnet_v2",
    "densenet121",
    "densenet161",
    "densenet201",
    "vgg16",
    "vgg19",
    "resnetv2_50x1_bit",
    "nfnet_l0",
    "dm_nfnet_f0",
}
MEMBERS = [
    pytest.param(name, marks=[pytest.mark.slow] if name in BIG else [])
    for family in FAMILIES
    for name in family.names
]
ONCE = {"epochs": 1, "batch_size": 16, "precision": "float32"}
RESIZED = NetworkInput(method="resized", image_side=20, network_side=30)
SHRUNK = NetworkInput(method="resized", image_side=30, network_side=20)
PADDED = NetworkInput(method="padded", image_side=20, network_side=25)


@pytest.mark.parametrize("side", [64, 150])
@pytest.mark.parametrize("name", MEMBERS)
def test_each_family_steps_forward_and_backward(name: str, side: int) -> None:
    torch.manual_seed(3)
    made = assemble(ModelOptions(name=name), Shape(1, side, 3))
    assert made.network.training
    output = made.network(torch.randn(2, 1, side, side))
    assert output.shape == (2, 3)
    (output - torch.tensor([[1.0, 2, 3], [3, 2, 1]])).square().sum().backward()
    found = [one.grad for one in made.network.parameters() if one.grad is not None]
    assert all(torch.isfinite(one).all() for one in found)
    first, last = _ends(made.network)
    for layer in (first, last):
        assert layer.weight.grad is not None
        assert layer.weight.grad.abs().sum() > 0
    assert facts()[name].ways[str(side)] == made.way
    assert facts()[name].ways[str(side)].image_side == side


def _ends(network: nn.Module) -> tuple[Any, Any]:
    """The first convolution, and the last layer that was given the outputs."""
    convolutions = [one for one in network.modules() if isinstance(one, nn.Conv2d)]
    linear = [one for one in network.modules() if isinstance(one, nn.Linear | nn.Conv2d)]
    return convolutions[0], [one for one in linear if len(one.weight) == 3][-1]


def test_every_feature_has_its_families_and_facts() -> None:
    names = [name for family in FAMILIES for name in family.names]
    assert set(facts()) == set(names)
    assert len(set(names)) == len(names)
    assert all(timm.is_model(name) for name in names if not name.startswith("lensmill"))
    m1 = [family.name for family in FAMILIES if family.feature == "M1"]
    assert len(m1) == 18, "CvT and CCT are due later"
    convolutional = {name for family in FAMILIES if family.feature == "M2" for name in family.names}
    assert {"resnet18", "resnet34", "resnet50", "resnet101", "resnet152"} < convolutional
    assert {"densenet121", "densenet161", "densenet201", "vgg16", "vgg19"} < convolutional
    assert {"inception_v3", "inception_v4", "inception_resnet_v2"} < convolutional


@pytest.mark.parametrize("name", ["lensmill_stem_vit", "vit_tiny_patch16_224", "levit_128s", "resnet18"])
def test_the_facts_are_what_is_found_out(name: str) -> None:
    assert found_out(name) == facts()[name], "python -m benchmarks.models --facts"


@pytest.mark.parametrize(("pattern", "found"), [("swin", "Swin V2"), ("botnet26*", "BotNet"), ("M1", None)])
def test_families_are_found_by_name_and_member(pattern: str, found: str | None) -> None:
    names = [family.name for family in families(pattern)]
    assert names == ([found] if found else [])


# -- how sizes are met


@pytest.mark.parametrize(
    ("side", "patch", "chosen"), [(64, 16, 8), (150, 16, 15), (224, 16, 16), (128, 16, 16), (67, 16, 16)]
)
def test_patches_divide_the_image_into_enough(side: int, patch: int, chosen: int) -> None:
    assert patch_for(side, patch) == chosen


@pytest.mark.parametrize(
    ("side", "window", "chosen"), [(64, 8, 8), (160, 8, 10), (64, 7, 8), (224, 7, 7), (256, 8, 8)]
)
def test_windows_divide_the_maps(side: int, window: int, chosen: int) -> None:
    assert window_for(side, window) == chosen


@pytest.mark.parametrize(
    ("name", "side", "method", "network_side", "options"),
    [
        ("resnet10t", 150, "unchanged", 150, {}),
        ("test_vit", 64, "unchanged", 64, {"img_size": 64, "patch_size": 8}),
        ("levit_128s", 150, "padded", 160, {"img_size": 160}),
        ("botnet26t_256", 150, "padded", 160, {"img_size": 160}),
        ("efficientformer_l1", 64, "resized", 224, {"img_size": 224}),
    ],
)
def test_the_way_is_the_first_that_works(
    name: str, side: int, method: str, network_side: int, options: dict[str, int]
) -> None:
    way = assemble(ModelOptions(name=name), Shape(1, side, 2)).way
    assert (way.method, way.image_side, way.network_side) == (method, side, network_side)
    assert way.options == options


def test_a_network_that_cuts_the_edge_off_is_padded() -> None:
    """Patches of 4 do not divide 150, and convolutions leave the rest out without a word."""
    made = assemble(ModelOptions(name="focalnet_tiny_srf"), Shape(1, 150, 2))
    images = torch.randn(1, 1, 150, 150, requires_grad=True)
    made.network.eval()(images).square().sum().backward()
    assert images.grad is not None
    assert images.grad[0, 0, -1].abs().sum() > 0
    assert images.grad[0, 0, :, -1].abs().sum() > 0
    plain = timm.create_model("focalnet_tiny_srf", in_chans=1, num_classes=2).eval()
    again = torch.randn(1, 1, 150, 150, requires_grad=True)
    plain(again).square().sum().backward()
    assert again.grad is not None
    assert again.grad[0, 0, -1].abs().sum() == 0


def test_first_weights_do_not_depend_on_how_many_ways_were_tried() -> None:
    torch.manual_seed(4)
    padded = build("focalnet_tiny_srf", Shape(1, 150, 2))
    assert isinstance(padded, SizedNetwork)
    torch.manual_seed(4)
    alone = timm.create_model("focalnet_tiny_srf", in_chans=1, num_classes=2)
    for one, other in zip(padded.network.parameters(), alone.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_network_that_works_nowhere_is_refused_and_says_why() -> None:
    def make(_: dict[str, int]) -> nn.Module:
        raise RuntimeError("the reason\nand more")

    with pytest.raises(DataError, match="cannot take images of 64 x 64 pixels: the reason") as caught:
        take_images("test_resnet", Shape(1, 64, 2), make)
    assert "and more" not in str(caught.value)
    assert "made for" in caught.value.expected


@pytest.mark.parametrize("way", [PADDED, RESIZED, SHRUNK], ids=lambda way: way.short)
def test_padding_and_resizing_do_what_they_say(way: NetworkInput) -> None:
    side, middle = way.image_side, (way.image_side - 1) / 2
    constant = resized(torch.full((2, 3, side, side), 1.7), way)
    assert constant.shape == (2, 3, way.network_side, way.network_side)
    assert torch.allclose(constant, torch.tensor(1.7))
    y, x = torch.meshgrid(torch.arange(side) - middle, torch.arange(side) - middle, indexing="ij")
    spot = torch.exp(-(y**2 + x**2) / 8)[None, None].requires_grad_()
    seen = resized(spot, way)[0, 0]
    rows = torch.arange(way.network_side) - (way.network_side - 1) / 2
    for axis in (0, 1):
        assert abs(((seen.sum(axis) * rows).sum() / seen.sum()).item()) <= 0.51
    seen.sum().backward()
    assert spot.grad is not None
    assert (spot.grad > 0).all(), "no pixel is lost"


def test_padding_continues_the_sky() -> None:
    images = torch.randn(4, 1, 20, 20)
    frame = resized(images, PADDED)
    assert torch.equal(frame[..., 2:22, 2:22], images)
    assert torch.equal(frame[..., 2:22, 1], images[..., 1])


# -- through a run folder


@pytest.mark.parametrize(
    ("name", "method"),
    [("vit_tiny_patch16_224.augreg_in21k", "unchanged"), ("test_efficientnet", "unchanged")],
)
def test_names_with_and_without_a_tag_are_built(name: str, method: str) -> None:
    assert assemble(ModelOptions(name=name), Shape(1, 32, 2)).way.method == method


@pytest.fixture
def trained(
    experiment: Callable[..., ExperimentRecipe], sound_store: Any, tmp_path: Path
) -> Callable[..., Path]:
    """A run folder of a network, by default on images of 16 x 16."""

    def train(data: Path = sound_store.root, **model: Any) -> Path:
        fit(experiment(model=model, training=ONCE), data, tmp_path / "run", quiet=True)
        return tmp_path / "run"

    return train


@pytest.mark.parametrize(
    ("name", "side", "method"), [("inception_next_atto", 16, "resized"), ("botnet26t_256", 30, "padded")]
)
def test_a_run_keeps_how_its_network_takes_images(
    name: str,
    side: int,
    method: str,
    trained: Callable[..., Path],
    another_store: Callable[..., Path],
    caplog: pytest.LogCaptureFixture,
) -> None:
    data = another_store(f"instrument.num_pix={side}")
    with caplog.at_level(logging.INFO, "train.models.assembly"):
        run = trained(data, name=name)
    way = read_record(run).network_input
    assert way is not None
    assert (way.method, way.image_side, way.network_side) == (method, side, 32)
    assert caplog.text.count(f"{name}: {way}") == 1
    loaded = load_run(run)
    assert isinstance(loaded.network[1], SizedNetwork)  # type: ignore[index]
    assert evaluate(run, data).samples == 12
    assert predict(run, [data]).num_rows == 12
    state = load_file(run / "weights.safetensors")
    for key, value in loaded.network[1].state_dict().items():  # type: ignore[index]
        assert torch.equal(value, state[key])


def test_a_padded_run_is_rebuilt_with_its_frame(tmp_path: Path) -> None:
    made = assemble(ModelOptions(name="botnet26t_256"), Shape(1, 150, 3))
    again = rebuild("botnet26t_256", Shape(1, 150, 3), made.way)
    again.load_state_dict(made.network.state_dict())
    images = torch.randn(2, 1, 150, 150)
    with torch.no_grad():
        assert torch.equal(made.network.eval()(images), again.eval()(images))


def test_a_run_from_before_is_built_as_it_was_then(trained: Callable[..., Path], sound_store: Any) -> None:
    run = trained(name="test_resnet")
    record = json.loads((run / "run.json").read_text())
    del record["network_input"], record["initial_weights"]
    (run / "run.json").write_text(json.dumps(record))
    assert read_record(run).network_input is None
    assert evaluate(run, sound_store.root).samples == 12


def test_a_run_says_what_weights_it_started_from(
    trained: Callable[..., Path],
    experiment: Callable[..., ExperimentRecipe],
    sound_store: Any,
    tmp_path: Path,
) -> None:
    weights = tmp_path / "w.safetensors"
    save_file(timm.create_model("test_resnet").state_dict(), weights)
    model = {"name": "test_resnet", "pretrained": True, "weights": str(weights)}
    run = trained(**model)
    started = read_record(run).initial_weights
    assert started is not None
    assert started.source == str(weights)
    assert evaluate(run, sound_store.root).samples == 12
    recipe = experiment(model=model, training=ONCE)
    assert finished(recipe, sound_store.root, run) is not None
    save_file(timm.create_model("test_resnet").state_dict(), weights)
    with pytest.raises(RunError, match="started from other weights"):
        finished(recipe, sound_store.root, run)
    weights.unlink()
    assert finished(recipe, sound_store.root, run) is not None, "the run is whole without the file"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("way", [PADDED, RESIZED, SHRUNK], ids=lambda way: way.short)
def test_padding_and_resizing_are_the_same_on_the_device(way: NetworkInput) -> None:
    images = torch.randn(2, 1, way.image_side, way.image_side)
    with torch.autocast("cuda", dtype=torch.bfloat16):
        there = resized(images.cuda(), way)
    assert torch.allclose(there.float().cpu(), resized(images, way), atol=1e-5)
