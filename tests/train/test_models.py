"""Models: our own at every size, timm's by name, and clear words where a model cannot be had."""

import pytest
import torch

from schemas.errors import DataError, UnknownNameError
from train.models import MODELS, build, models
from train.models.detail_cnn import BLUR, DetailCNN
from train.models.registry import Shape
from train.models.stem_vit import MOST_TOKENS_A_SIDE


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [16, 32, 64, 150])
@pytest.mark.parametrize("name", MODELS)
def test_our_models_learn_at_every_size(name: str, side: int, channels: int) -> None:
    torch.manual_seed(1)
    network = build(name, Shape(channels, side, 5))
    assert network.training
    output = network(torch.randn(3, channels, side, side))
    assert output.shape == (3, 5)
    assert torch.isfinite(output).all()
    (output**2).sum().backward()
    for parameter_name, parameter in network.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert torch.isfinite(parameter.grad).all(), parameter_name
        assert parameter.grad.abs().sum() > 0, parameter_name


@pytest.mark.parametrize("name", MODELS)
def test_our_models_treat_each_image_alone(name: str) -> None:
    network = build(name, Shape(1, 16, 2)).eval()
    images = torch.randn(4, 1, 16, 16)
    with torch.no_grad():
        together, alone = network(images), torch.cat([network(one[None]) for one in images])
    assert torch.allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize("side", [16, 24, 33, 64, 150, 200])
def test_the_stem_leaves_few_tokens(side: int) -> None:
    tokens = build("lensmill_stem_vit", Shape(1, side, 2)).position.shape[1]
    assert (MOST_TOKENS_A_SIDE / 2) ** 2 <= tokens <= MOST_TOKENS_A_SIDE**2


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "name",
    [
        pytest.param("vit_tiny_patch16_224", id="a transformer that is told the size"),
        pytest.param("resnet10t", id="a convolutional network that takes any"),
    ],
)
def test_timm_models_are_built_for_the_images(name: str, channels: int) -> None:
    network = build(name, Shape(channels, 48, 4)).eval()
    with torch.no_grad():
        assert network(torch.randn(2, channels, 48, 48)).shape == (2, 4)


@pytest.mark.parametrize("name", ["inception_next_atto", "xcit_nano_12_p16_224"])
def test_a_size_that_cannot_be_met_names_model_and_size(name: str) -> None:
    with pytest.raises(DataError, match=f"{name}.*cannot take images of 3 x 3 pixels") as caught:
        build(name, Shape(1, 3, 3))
    assert "224 x 224" in caught.value.expected
    assert "lensmill models" in caught.value.advice


@pytest.mark.parametrize(
    ("wrong", "right"), [("lensmill_stemvit", "lensmill_stem_vit"), ("resnet_50", "resnet50")]
)
def test_an_unknown_model_suggests_the_nearest(wrong: str, right: str) -> None:
    with pytest.raises(UnknownNameError, match=f"unknown model '{wrong}'") as caught:
        build(wrong, Shape(1, 16, 3))
    assert repr(right) in caught.value.advice
    # not a thousand names
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("name", ["hf-hub:timm/resnet18", "local-dir:/tmp"])
def test_names_that_fetch_are_unknown(name: str) -> None:
    with pytest.raises(UnknownNameError):
        build(name, Shape(1, 16, 3))


def test_an_unknown_tag_of_a_timm_model_is_bad_input() -> None:
    with pytest.raises((UnknownNameError, DataError), match="no_such_tag"):
        build("resnet18.no_such_tag", Shape(1, 16, 3))


def test_models_lists_ours_first_and_timms() -> None:
    cards = models()
    ours = [card.name for card in cards if card.origin == "lensmill"]
    assert ours == list(MODELS)
    assert [card.name for card in cards[: len(ours)]] == ours
    assert len(cards) > 500


@pytest.mark.parametrize("pattern", ["swin_t", "swin_tiny*", "swin_tin?_patch4_window7_224"])
def test_models_can_be_searched(pattern: str) -> None:
    names = [card.name for card in models(pattern)]
    assert "swin_tiny_patch4_window7_224" in names
    assert not set(names) & set(MODELS)
    assert [card.name for card in models("stem_vit") if card.origin == "lensmill"] == ["lensmill_stem_vit"]


def test_nothing_is_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr("socket.socket.connect", refuse)
    build("test_resnet", Shape(1, 32, 3))


def test_details_are_what_a_blur_takes_away() -> None:
    network = DetailCNN(Shape(2, 24, 3))
    flat, spot = torch.full((1, 2, 24, 24), 5.0), torch.zeros(1, 2, 24, 24)
    spot[0, 1, 12, 12] = 1.0
    # up to the edge nothing stands out of what is the same everywhere
    assert torch.allclose(network._blurred(flat), flat, atol=1e-5)
    blurred = network._blurred(spot)
    assert blurred[0, 0].abs().max() == 0, "each channel is blurred alone"
    assert blurred[0, 1].sum() == pytest.approx(1, abs=1e-5)
    assert blurred[0, 1, 12, 12] == pytest.approx(1 / (2 * torch.pi * BLUR**2), rel=0.01)
    # the blur is no weight that could be learned or that a file would hold
    assert "kernel" not in network.state_dict()
