"""The perceptual loss, L1 between VGG-19 features (Johnson et al. 2016), which the paper adds to eq. 5.

Layers and their weights are those of the released code; VGG-19 comes from a local file or torchvision's download.

Shapes: N images, H x W pixels, h x w of a feature map.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.checkpoint.weights import read_pth, read_safetensors
from trainer.errors import CheckpointError
from trainer.text import few

WEIGHTS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)  # at relu1_1, relu2_1, relu3_1, relu4_1, relu5_1
WIDEST = 1024  # wider images are halved until they are not

# VGG-19 up to relu5_1: channels of its 3x3 convolutions, "M" a 2x2 max-pool. Indices of torchvision's ``features``.
_LAYERS = (64, 64, "M", 128, 128, "M", 256, 256, 256, 256, "M", 512, 512, 512, 512, "M", 512)
_TAPS = (1, 6, 11, 20, 29)


class Perceptual(nn.Module):
    """Frozen VGG-19 up to relu5_1.

    Images are (N, 3, H, W) in [-1, 1] and go in as they are, without ImageNet's mean and deviation, as in the
    original. Its parameters never require gradients; gradients reach the generated images.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for item in _LAYERS:
            if isinstance(item, int):
                layers += [nn.Conv2d(channels, item, 3, padding=1), nn.ReLU(inplace=True)]
                channels = item
            else:
                layers.append(nn.MaxPool2d(2, 2))
        self.layers = nn.ModuleList(layers)
        self.requires_grad_(False)
        self.eval()

    def forward(self, images: Tensor) -> list[Tensor]:
        """Features at the five taps, of images halved while they are wider than 1024."""
        while images.shape[-1] > WIDEST:
            images = F.avg_pool2d(images, 2, stride=2, count_include_pad=False)
        taps = []
        for index, layer in enumerate(self.layers):
            images = layer(images)
            if index in _TAPS:
                taps.append(images)  # what follows, a convolution or a pool, does not work in place
        return taps

    @torch.no_grad()
    def features(self, images: Tensor) -> list[Tensor]:
        """Features of real images, to compare several generated versions with."""
        return self(images)

    def distance(self, images: Tensor, real: Sequence[Tensor]) -> Tensor:
        """Sum over the taps of weight times mean absolute difference to ``real``, what ``features`` returned."""
        total = torch.zeros((), device=images.device)
        for weight, f, r in zip(WEIGHTS, self(images), real, strict=True):
            total = total + weight * F.l1_loss(f.float(), r.detach().float())
        return total


def build_perceptual(weights: str | None) -> Perceptual | None:
    """The network for ``model.perceptual_weights``.

    Args:
        weights: a file with torchvision's VGG-19 state dict (.pth or .safetensors), "torchvision" to let torchvision
            download it, or None.

    Returns:
        The network, or None where no weights are configured: the loss is then off.

    Raises:
        CheckpointError: the file is missing, unreadable or another network's; or the download failed.
    """
    if weights is None:
        return None
    state = _download() if weights == "torchvision" else _read(Path(weights))
    network = Perceptual()
    state = {name.replace("features.", "layers.", 1): tensor for name, tensor in state.items()}
    expected = network.state_dict()
    picked = {name: state[name] for name in expected if name in state}
    wrong = []
    for name, tensor in expected.items():
        found = tuple(picked[name].shape) if name in picked else "missing"
        if found != tuple(tensor.shape):
            wrong.append(f"{name.replace('layers.', 'features.')} {found}, expected {tuple(tensor.shape)}")
    if wrong:
        raise CheckpointError(f"model.perceptual_weights={weights} is not torchvision's VGG-19: {few(wrong, 3, '; ')}")
    network.load_state_dict(picked)
    return network


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise CheckpointError(
            f"model.perceptual_weights={path}: no such file. Give torchvision's vgg19 file (vgg19-dcbb9e9d.pth), "
            '"torchvision" to download it, or null to train without the perceptual loss'
        )
    return read_safetensors(path) if path.suffix == ".safetensors" else read_pth(path)


def _download() -> dict[str, Tensor]:
    from torchvision.models import VGG19_Weights

    try:
        return dict(VGG19_Weights.IMAGENET1K_V1.get_state_dict(progress=False, check_hash=True))
    except OSError as error:
        raise CheckpointError(
            f"model.perceptual_weights=torchvision: the download failed ({error}). Give a local file instead, or null"
        ) from error
