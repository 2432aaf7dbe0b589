"""VGG-19 and decoders out of files as they are passed around, read by the shapes of their convolutions."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from trainer.checkpoint.weights import save_weights
from trainer.errors import CheckpointError
from vit.stylize.vgg import load_vgg


def port(seed: int) -> nn.Sequential:
    """The first layers of ``vgg_normalised.pth``: a convolution of 1x1 pixels, reflected borders."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 3, 1),
        *(nn.ReflectionPad2d(1), nn.Conv2d(3, 64, 3), nn.ReLU(), nn.ReflectionPad2d(1), nn.Conv2d(64, 64, 3)),
        *(nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True), nn.ReflectionPad2d(1), nn.Conv2d(64, 128, 3), nn.ReLU()),
    )


DECODERS = {
    1: nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(64, 3, 3)),
    2: nn.Sequential(
        *(nn.ReflectionPad2d(1), nn.Conv2d(128, 64, 3), nn.ReLU(), nn.UpsamplingNearest2d(scale_factor=2)),
        *(nn.ReflectionPad2d(1), nn.Conv2d(64, 64, 3), nn.ReLU(), nn.ReflectionPad2d(1), nn.Conv2d(64, 3, 3)),
    ),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vgg")
    torch.save(port(3).state_dict(), folder / "vgg.pth")
    for level, decoder in DECODERS.items():
        torch.save(decoder.state_dict(), folder / f"decoder{level}.pth")
    return folder


def test_a_port_of_adain_is_read_whatever_the_order_of_its_decoders(files: Path) -> None:
    network = load_vgg(str(files / "vgg.pth"), [str(files / "decoder2.pth"), str(files / "decoder1.pth")])
    images = torch.rand(1, 3, 12, 8)
    assert network.levels == (1, 2)
    wanted = port(3)(images)
    features = network.encode(images, 2)
    assert torch.allclose(features, wanted, atol=1e-5)
    assert torch.allclose(network.decode(features, 2), DECODERS[2](wanted), atol=1e-5)
    assert not any(value.requires_grad for value in network.parameters())


def test_torchvisions_file_gets_imagenets_normalisation(files: Path, tmp_path: Path) -> None:
    """Borders apart, which are zeros there, it computes as torchvision does."""
    torch.manual_seed(0)
    theirs = nn.Sequential(  # the first layers of its ``features``
        *(nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Conv2d(64, 128, 3, padding=1),
    )
    state: dict[str, Tensor] = {f"features.{name}": value for name, value in theirs.state_dict().items()}
    save_weights(tmp_path / "vgg19.safetensors", state)
    network = load_vgg(str(tmp_path / "vgg19.safetensors"), [str(files / "decoder2.pth")])
    images = torch.rand(1, 3, 32, 32)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        wanted = torch.relu(theirs((images - mean) / std))
    inner = (..., slice(4, 12), slice(4, 12))
    assert torch.allclose(network.encode(images, 2)[inner], wanted[inner], atol=1e-4)


def test_what_is_no_vgg_is_refused_by_name(files: Path, tmp_path: Path) -> None:
    vgg, first, second = (str(files / name) for name in ("vgg.pth", "decoder1.pth", "decoder2.pth"))
    torch.save({"a.weight": torch.zeros(8, 3, 3, 3), "a.bias": torch.zeros(8)}, tmp_path / "other.pth")
    torch.save({"a.weight": torch.zeros(8, 3)}, tmp_path / "flat.pth")
    normed = port(3).state_dict() | {f"2b.{name}": value for name, value in nn.BatchNorm2d(64).state_dict().items()}
    torch.save(normed, tmp_path / "normed.pth")  # whose convolutions alone are VGG-19's
    for encoder, decoders, said in (
        (str(tmp_path / "none.pth"), [first], "encoder=.*none.pth: there is no such file"),
        (str(tmp_path / "normed.pth"), [first], "normed.pth has batch norms between .*: give plain VGG-19"),
        (str(tmp_path / "other.pth"), [first], "other.pth is no VGG-19: convolution 1 is 8x3x3x3, not 64x3x3x3"),
        (vgg, [str(tmp_path / "other.pth")], "decoders=.*other.pth: its convolutions .* are no decoder"),
        (vgg, [first, first], "are both of level 1"),
        (vgg, [str(tmp_path / "flat.pth")], "holds no convolutions"),
    ):
        with pytest.raises(CheckpointError, match=said):
            load_vgg(encoder, decoders)
    torch.save(port(3)[:3].state_dict(), tmp_path / "short.pth")
    with pytest.raises(CheckpointError, match="has 1 convolutions, VGG-19 as deep as the decoders 3"):
        load_vgg(str(tmp_path / "short.pth"), [second])
