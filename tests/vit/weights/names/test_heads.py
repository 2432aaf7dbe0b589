"""Networks without a head whose classifier stands beside them, as in most people's own modules; and none at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from trainer.errors import CheckpointError
from vit.predict.predictor import load_predictor
from vit.trained import load_weights_model
from vit.weights.reading import read

timm = pytest.importorskip("timm")
SIZES = {"img_size": 32, "patch_size": 8, "embed_dim": 192, "depth": 2, "num_heads": 3}
CPU = ("trainer.device=cpu", "trainer.precision=fp32")


def vit(classes: int = 0, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    model = timm.models.vision_transformer.VisionTransformer(**SIZES, num_classes=classes).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


class Own(nn.Module):
    """What people write: a network of a library, a layer of their own, a loss with weights of classes."""

    def __init__(self, network: str, head: str, net: nn.Module, layer: nn.Module) -> None:
        super().__init__()
        self.names = network, head
        setattr(self, network, net)
        setattr(self, head, layer)
        self.criterion = nn.CrossEntropyLoss(weight=torch.ones(3))

    def forward(self, x: Tensor) -> Tensor:
        network, head = self.names
        return getattr(self, head)(getattr(self, network)(x))


def pictures() -> Tensor:
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def saved(path: Path, state: dict[str, Tensor], outer: str = "") -> str:
    torch.save({"state_dict": {outer + name: tensor for name, tensor in state.items()}}, path)
    return str(path)


@pytest.mark.parametrize("outer", ["", "model.", "module.net."])
@pytest.mark.parametrize(
    ("network", "head", "layer"),
    [
        ("backbone", "classifier", nn.Linear(192, 3)),
        ("vit", "fc", nn.Linear(192, 3)),
        ("encoder", "mlp_head", nn.Sequential(nn.Dropout(0.1), nn.Linear(192, 3))),
        ("0", "1", nn.Linear(192, 3, bias=False)),
    ],
)
def test_a_layer_beside_the_network_is_its_head(
    network: str, head: str, layer: nn.Module, outer: str, tmp_path: Path
) -> None:
    model = Own(network, head, vit(), layer).eval()
    found, meta = load_weights_model(saved(tmp_path / "a.ckpt", model.state_dict(), outer))
    with torch.no_grad():
        torch.testing.assert_close(found(pictures()), model(pictures()), atol=2e-5, rtol=0)
    assert any("beside the network is read as its head" in note for note in meta["notes"])


def test_a_layer_beside_a_network_of_timms(tmp_path: Path) -> None:
    net = timm.create_model("test_resnet", num_classes=0)
    model = Own("backbone", "fc", net, nn.Linear(net.num_features, 3)).eval()
    found, _ = load_weights_model(saved(tmp_path / "a.ckpt", model.state_dict(), "model."), "test_resnet")
    with torch.no_grad():
        torch.testing.assert_close(found(pictures()), model(pictures()), atol=1e-6, rtol=0)


def test_a_layer_beside_torchvisions(tmp_path: Path) -> None:
    torchvision = pytest.importorskip("torchvision")
    net = torchvision.models.VisionTransformer(
        image_size=32, patch_size=8, num_layers=2, num_heads=3, hidden_dim=192, mlp_dim=768
    )
    net.heads = nn.Identity()
    model = Own("base", "linear", net, nn.Linear(192, 3)).eval()
    found, _ = load_weights_model(saved(tmp_path / "a.pth", model.state_dict()))
    with torch.no_grad():
        torch.testing.assert_close(found(pictures()), model(pictures()), atol=2e-5, rtol=0)


@pytest.mark.parametrize(
    ("classes", "layer"),
    [
        (0, nn.Sequential(nn.Linear(192, 8), nn.ReLU(), nn.Linear(8, 3))),
        (10, nn.Linear(10, 3)),  # behind the head that it came with
    ],
)
def test_layers_beside_the_network_are_no_single_head(classes: int, layer: nn.Module, tmp_path: Path) -> None:
    path = saved(tmp_path / "a.ckpt", Own("backbone", "classifier", vit(classes), layer).state_dict())
    with pytest.raises(CheckpointError, match=r"no single linear layer .*classifier.*model\.head=reset"):
        load_weights_model(path)
    assert load_weights_model(path, headless=True)[0](pictures()).shape == (2, 192)


def test_heads_of_pre_training_and_other_tasks_stay_out(tmp_path: Path) -> None:
    beside = {"head.mlp.0.weight": torch.ones(9, 192), "head.last_layer.weight_v": torch.ones(7, 192)}
    state = {f"backbone.{name}": tensor for name, tensor in vit().state_dict().items()}
    found = read(saved(tmp_path / "dino.pth", {**state, **beside}, "module."))
    assert not found.lost_head and found.arch["num_classes"] == 0
    kept = {f"vit.{name}": tensor for name, tensor in vit(5).state_dict().items()}
    found = read(saved(tmp_path / "two.pth", {**kept, "cls_loss.fc.weight": torch.ones(4, 192)}))
    assert not found.lost_head and found.arch["num_classes"] == 5


def test_hugging_faces_pooler_leaves_open_what_a_head_reads(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 192, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 768}
    config = transformers.ViTConfig(image_size=32, patch_size=8, **sizes)
    plain = transformers.ViTModel(config, add_pooling_layer=False).eval()
    head = nn.Linear(192, 3)
    model = Own("vit", "fc", plain, head).eval()
    found, _ = load_weights_model(saved(tmp_path / "a.pth", model.state_dict()))
    with torch.no_grad():
        expected = head(plain(pictures()).last_hidden_state[:, 0])
        torch.testing.assert_close(found(pictures()), expected, atol=2e-5, rtol=0)
    pooled = Own("vit", "fc", transformers.ViTModel(config), nn.Linear(192, 3))
    path = saved(tmp_path / "b.pth", pooled.state_dict())
    with pytest.raises(CheckpointError, match="pooler or the class token"):
        load_weights_model(path)


def test_features_are_no_probabilities_of_classes(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pth", vit().state_dict())
    with pytest.raises(CheckpointError, match=r"no head that tells classes apart: features=true .*model\.head=reset"):
        load_predictor(weights=path, overrides=CPU)
    predictor = load_predictor(weights=path, overrides=CPU, features=True)
    assert predictor.classes == [] and not any("classes" in line for line in predictor.lines)
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(tmp_path / "a.png")
    assert predictor.features(torch.zeros(1, 3, 32, 32, dtype=torch.uint8)).shape == (1, 192)
