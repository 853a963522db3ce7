"""Trained weights: from files and by name, fitted to the data; clear words where they cannot be had."""

import logging
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from schemas.errors import DataError
from schemas.experiment import ModelOptions
from train.models import assemble
from train.models.registry import Shape
from train.models.weights import file_sha256

Save = Callable[..., Path]
# convolutional, a transformer whose positions are resampled, one with two last layers
NETWORKS = ("test_resnet", "test_vit", "levit_128s")


class _Malice:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> Any:
        return print, ("executed",)


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """A file of trained weights of one of timm's networks, by default for 3 channels and 7 classes."""

    def make(
        name: str, channels: int = 3, outputs: int = 7, file: str = "weights.safetensors", **more: Any
    ) -> Path:
        torch.manual_seed(5)
        network = timm.create_model(name, in_chans=channels, num_classes=outputs, **more)
        state = {key: value.contiguous() for key, value in network.state_dict().items()}
        path = tmp_path / file
        save_file(state, path) if path.suffix == ".safetensors" else torch.save({"state_dict": state}, path)
        return path

    return make


def _options(name: str, path: Path) -> ModelOptions:
    return ModelOptions(name=name, pretrained=True, weights=str(path))


@pytest.mark.parametrize(("name", "channels"), [(name, 1) for name in NETWORKS] + [("test_resnet", 5)])
def test_weights_of_a_file_fit_other_channels_and_outputs(name: str, channels: int, save: Save) -> None:
    path = save(name)
    made = assemble(_options(name, path), Shape(channels, 64, 2))
    assert made.network.training
    assert made.network.eval()(torch.randn(2, channels, 64, 64)).shape == (2, 2)
    assert made.weights is not None
    assert (made.weights.source, made.weights.sha256) == (str(path), file_sha256(path))
    # what has the same shape in the file was taken over, all of it
    torch.manual_seed(5)
    trained = timm.create_model(name, in_chans=3, num_classes=7).state_dict()
    inner = getattr(made.network, "network", made.network).state_dict()
    alike = [key for key in trained if key in inner and trained[key].shape == inner[key].shape]
    assert len(alike) > 0.9 * len(inner) - 8
    assert all(torch.equal(trained[key], inner[key]) for key in alike)


def test_one_channel_sees_what_three_equal_ones_saw(save: Save) -> None:
    """The same features, so the same answer from a grey image as from its three copies."""
    path = save("test_resnet")
    one, three = (assemble(_options("test_resnet", path), Shape(c, 48, 2)).network.eval() for c in (1, 3))
    image = torch.randn(2, 1, 48, 48)
    with torch.no_grad():
        grey = one.forward_features(image)  # type: ignore[operator]
        copies = three.forward_features(image.repeat(1, 3, 1, 1))  # type: ignore[operator]
    assert torch.allclose(grey, copies, atol=1e-4)
    assert grey.std() > 0


def test_position_embeddings_are_resampled_and_patches_kept(save: Save) -> None:
    path = save("test_vit")
    made = assemble(_options("test_vit", path), Shape(3, 64, 2))
    scratch = assemble(ModelOptions(name="test_vit"), Shape(3, 64, 2))
    assert made.way.options == {"img_size": 64}
    assert scratch.way.options == {"img_size": 64, "patch_size": 8}
    state = timm.create_model("test_vit").state_dict()
    assert made.network.state_dict()["pos_embed"].shape[1] != state["pos_embed"].shape[1]


def test_positions_that_cannot_be_resampled_keep_their_size_and_images_are_resized(save: Save) -> None:
    path = save("levit_128s")
    made = assemble(_options("levit_128s", path), Shape(1, 64, 2))
    assert (made.way.method, made.way.network_side) == ("resized", 224)
    assert assemble(ModelOptions(name="levit_128s"), Shape(1, 64, 2)).way.method == "unchanged"


def test_weights_of_our_own_network_fit_other_channels_and_outputs(tmp_path: Path) -> None:
    name = "lensmill_stem_vit"
    trained = assemble(ModelOptions(name=name), Shape(1, 32, 3)).network.state_dict()
    save_file(trained, tmp_path / "own.safetensors")
    made = assemble(_options(name, tmp_path / "own.safetensors"), Shape(2, 32, 5)).network
    assert made(torch.randn(2, 2, 32, 32)).shape == (2, 5)
    assert torch.equal(made.state_dict()["position"], trained["position"])
    assert torch.allclose(made.state_dict()["stem.0.weight"].sum(dim=1), trained["stem.0.weight"][:, 0])
    with pytest.raises(DataError, match="missing key"):
        assemble(_options(name, tmp_path / "own.safetensors"), Shape(1, 64, 3))


def test_the_weights_of_a_padded_run_start_another(tmp_path: Path) -> None:
    padded = assemble(ModelOptions(name="botnet26t_256"), Shape(1, 150, 3))
    assert padded.way.method == "padded"
    save_file(padded.network.state_dict(), tmp_path / "run.safetensors")
    again = assemble(_options("botnet26t_256", tmp_path / "run.safetensors"), Shape(1, 150, 4))
    inner = again.network.state_dict()
    same = [torch.equal(value, inner[key]) for key, value in padded.network.state_dict().items()]
    assert same.count(False) == 2, "weight and bias of the last layer"


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin"])
def test_torchs_own_files_are_read_as_data(suffix: str, save: Save) -> None:
    path = save("test_resnet", file=f"weights{suffix}")
    assert assemble(_options("test_resnet", path), Shape(1, 32, 2)).weights is not None


def test_a_file_that_holds_code_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, content in (
        ("zip.pth", {"state_dict": {"a": _Malice()}}),
        ("old.bin", _Malice()),
    ):
        path = tmp_path / name
        if name == "zip.pth":
            torch.save(content, path)
        else:
            path.write_bytes(pickle.dumps(content))
        with pytest.raises(DataError, match=f"cannot read weights from .*{name}") as caught:
            assemble(_options("test_resnet", path), Shape(1, 32, 2))
        assert "nothing to be executed" in caught.value.expected
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("none.safetensors", None, "there is no file"),
        ("weights.npz", b"PK", "cannot read weights from .*weights.npz"),
        ("cut.safetensors", b"\x08\0\0\0", "cannot read weights from"),
        ("empty.pth", b"", "cannot read weights from"),
    ],
)
def test_what_is_no_file_of_weights(file: str, content: bytes | None, says: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / file).write_bytes(content)
    with pytest.raises(DataError, match=says):
        assemble(_options("test_resnet", tmp_path / file), Shape(1, 32, 2))


def test_weights_of_another_network_are_refused_with_the_first_names(save: Save) -> None:
    path = save("test_vit")
    with pytest.raises(DataError, match="are not those of model 'test_resnet'") as caught:
        assemble(_options("test_resnet", path), Shape(1, 32, 2))
    assert "missing key" in str(caught.value)
    assert "unexpected key" in str(caught.value)
    assert "more" in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("change", ["missing", "unexpected"])
def test_a_single_wrong_name_is_refused(change: str, tmp_path: Path) -> None:
    state = timm.create_model("test_resnet", num_classes=7).state_dict()
    if change == "missing":
        del state["layer1.0.conv1.weight"]
    else:
        state["layer1.0.conv9.weight"] = torch.zeros(1)
    save_file(state, tmp_path / "odd.safetensors")
    with pytest.raises(DataError, match=rf"{change} key.*layer1\.0\.conv[19]\.weight"):
        assemble(_options("test_resnet", tmp_path / "odd.safetensors"), Shape(1, 32, 2))


def test_weights_of_a_wider_network_are_refused_once(save: Save) -> None:
    path = save("resnet18")
    with pytest.raises(DataError, match="are not those of model 'resnet10t'"):
        assemble(_options("resnet10t", path), Shape(1, 32, 2))


# -- by name


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """An empty cache and a network that refuses; the addresses that were asked for."""
    asked: list[str] = []

    class Session:
        def head(self, address: str, **_: object) -> None:
            asked.append(address)
            raise ConnectionError("no route to host")

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub, "get_session", Session)
    return asked


def test_offline_it_is_said_at_once_what_file_is_needed(offline: list[str], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be fetched: no route to host") as caught:
        assemble(ModelOptions(name="resnet18.a1_in1k", pretrained=True), Shape(1, 32, 2))
    assert len(offline) == 1, "asked once, not again and again"
    assert "model.safetensors of https://huggingface.co/timm/resnet18.a1_in1k" in caught.value.expected
    assert str(tmp_path / "cache") in caught.value.where
    assert "model.weights=FILE" in caught.value.advice


def test_the_offline_switch_of_the_hub_is_respected(
    offline: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match="HF_HUB_OFFLINE is set"):
        assemble(ModelOptions(name="resnet18", pretrained=True), Shape(1, 32, 2))
    assert not offline


def test_the_cache_is_used_without_a_network(offline: list[str], tmp_path: Path, save: Save) -> None:
    revision = "0" * 40
    kept = tmp_path / "cache" / "models--timm--test_resnet.r160_in1k"
    (kept / "refs").mkdir(parents=True)
    (kept / "refs" / "main").write_text(revision)
    (kept / "snapshots" / revision).mkdir(parents=True)
    path = save("test_resnet", outputs=1000)
    path.rename(kept / "snapshots" / revision / "model.safetensors")
    made = assemble(ModelOptions(name="test_resnet", pretrained=True), Shape(1, 32, 2))
    assert made.weights is not None
    assert made.weights.source == "test_resnet.r160_in1k"
    assert not offline


def test_names_without_weights_say_which_have_some(offline: list[str]) -> None:
    with pytest.raises(DataError, match="nobody published weights of 'coatnet_pico_rw_224'"):
        assemble(ModelOptions(name="coatnet_pico_rw_224", pretrained=True), Shape(1, 64, 2))
    with pytest.raises(DataError, match="nobody published weights of 'lensmill_stem_vit'"):
        assemble(ModelOptions(name="lensmill_stem_vit", pretrained=True), Shape(1, 64, 2))
    assert not offline


def test_one_flag_tells_pretrained_from_scratch(save: Save, caplog: pytest.LogCaptureFixture) -> None:
    path = save("test_resnet")
    with caplog.at_level(logging.INFO, "train.models.assembly"):
        scratch = assemble(
            ModelOptions(name="test_resnet", pretrained=False, weights=str(path)), Shape(3, 32, 2)
        )
        assert "weights of" not in caplog.text
        trained = assemble(_options("test_resnet", path), Shape(3, 32, 2))
    assert caplog.text.count(f"weights of {path}") == 1
    assert scratch.weights is None
    first = [next(_convolutions(one.network)) for one in (scratch, trained)]
    assert not torch.equal(first[0].weight, first[1].weight)


def _convolutions(network: nn.Module) -> Any:
    return (one for one in network.modules() if isinstance(one, nn.Conv2d))
