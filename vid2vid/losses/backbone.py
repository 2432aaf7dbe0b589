"""A perceptual loss by the features of any backbone: a ViT trained by self-supervision (DINOv2: Oquab et al. 2024), a
convolutional network, or a classifier of this project.

Features of several depths are compared place by place as directions: both are divided by their length over the channels
(Zhang et al. 2018, "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", eq. 1 with equal weights),
because depths and backbones differ in scale by orders of magnitude.

Shapes: N images, H x W pixels, C channels of a feature map of h x w places.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.checkpoint.contents import META
from trainer.checkpoint.weights import read_pth, read_safetensors
from trainer.config.suggestions import did_you_mean
from trainer.errors import CheckpointError, ConfigError, UserError
from trainer.frozen import Frozen
from trainer.text import few
from trainer.untrusted import plain_json
from vid2vid.config import DINO, ModelConfig
from vid2vid.losses.perceptual import WIDEST

DEPTHS = 4  # feature maps that are compared, where `model.perceptual_layers` does not choose

Normalised = tuple[nn.Module, Sequence[float], Sequence[float]]  # a network; mean and deviation of its input, 0..1
RunReader = Callable[[str], Normalised]  # reads the run of a classifier of this project


class Backbone(Frozen):
    """Frozen features as a distance between images (N, 3, H, W) in [-1, 1].

    It stays in evaluation mode and its parameters never require gradients; gradients reach the generated images.

    Args:
        network: with ``forward_intermediates`` as timm's networks have it.
        mean, std: of its input per channel, on a scale of 0..1.
        layers: feature maps by number, negative ones from the end; none: ``DEPTHS`` of them, evenly spaced to the last.
        name: of the network in messages.

    Raises:
        ConfigError: the network tells no intermediate features, has no such layer, or sees no RGB.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, network: nn.Module, mean: Sequence[float], std: Sequence[float], layers: Sequence[int], name: str
    ) -> None:
        super().__init__()
        if not hasattr(network, "forward_intermediates"):
            raise ConfigError(f"{name} does not tell its intermediate features: take another model.perceptual_backbone")
        if len(mean) != 3:
            raise ConfigError(f"{name} sees {len(mean)} channels, frames have 3: take another backbone")
        self.network, self.name = network, name
        count = _depth(network)
        wrong = [layer for layer in layers if not -count <= layer < count]
        if wrong:
            raise ConfigError(f"model.perceptual_layers has {few(wrong)}: {name} has the layers 0..{count - 1}")
        spaced = {round((i + 1) * count / DEPTHS) - 1 for i in range(DEPTHS) if round((i + 1) * count / DEPTHS) > 0}
        self.layers = sorted({layer % count for layer in layers} or spaced)
        self.patch = _patch(network)
        for key, values in (("mean", mean), ("std", std)):
            self.register_buffer(key, torch.tensor(list(values)).view(1, 3, 1, 1), persistent=False)
        self.freeze()

    def forward(self, images: Tensor) -> list[Tensor]:
        """Features (N, C, h, w) of each layer, of unit length over the channels, fp32.

        Images are halved while they are wider than ``WIDEST``. Where patches do not divide the sides they are resized
        to the nearest size that has whole patches; positions are interpolated for it.
        """
        while images.shape[-1] > WIDEST:
            images = F.avg_pool2d(images, 2, stride=2, count_include_pad=False)
        size = tuple(max(round(side / self.patch), 1) * self.patch for side in images.shape[-2:])
        with torch.autocast(images.device.type, enabled=False):
            images = images.float()
            if size != images.shape[-2:]:
                images = F.interpolate(images, size, mode="bilinear", antialias=True)
            images = ((images + 1) / 2 - self.mean) / self.std
        network = cast(Any, self.network)
        found = network.forward_intermediates(
            images, indices=self.layers, norm=True, stop_early=True, output_fmt="NCHW", intermediates_only=True
        )
        return [F.normalize(features.float(), dim=1, eps=1e-6) for features in found]

    def check(self, height: int, width: int) -> None:
        """Raises ConfigError where the network cannot take frames of this size: one pass of shapes alone."""
        from torch._subclasses.fake_tensor import FakeTensorMode

        try:
            with torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=True):
                self(torch.empty(1, 3, height, width))
        except (AssertionError, RuntimeError, ValueError, UserError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise ConfigError(
                f"{self.name} cannot take frames of {height}x{width} pixels ({reason}): take another backbone, such "
                f"as {DINO}, or another resolution"
            ) from error

    @torch.no_grad()
    def features(self, images: Tensor) -> list[Tensor]:
        """Features of real images, to compare several generated versions with."""
        return self(images)

    def distance(self, images: Tensor, real: Sequence[Tensor]) -> Tensor:
        """Mean over layers and places of the squared distance to ``real``, what ``features`` returned: 0..4."""
        distances = [(f - r.detach()).square().sum(1).mean() for f, r in zip(self(images), real, strict=True)]
        return torch.stack(distances).mean()


def build_backbone(model: ModelConfig, run: RunReader | None = None) -> Backbone:
    """What ``model.perceptual_backbone`` and ``perceptual_weights`` ask for. Torch's random stream stays as it was.

    Args:
        run: reads a run of a classifier; None: such runs are refused.

    Raises:
        ConfigError: timm has no such network, or it cannot be used.
        CheckpointError: the weights are missing, unreadable or another network's.
    """
    weights = Path(str(model.perceptual_weights)).expanduser()
    given, layers = f"model.perceptual_weights={model.perceptual_weights}", model.perceptual_layers or []
    with torch.random.fork_rng(devices=[]):
        if weights.is_dir() and not (weights / "config.json").is_file():
            if run is None or not ((weights / META).is_file() or (weights / "checkpoints").is_dir()):
                raise CheckpointError(
                    f"{given} is no run of a classifier and no folder of timm's hub (config.json, model.safetensors): "
                    "give one of these, or a file with the weights of model.perceptual_backbone"
                )
            return Backbone(*run(str(weights)), layers, given)
        facts = _facts(weights) if weights.is_dir() else {}
        name = model.perceptual_backbone or facts.get("architecture") or DINO
        network, mean, std = _timm(str(name), facts)
        _fill(network, _read(weights, given), given, str(name))
    return Backbone(network, mean, std, layers, f"model.perceptual_backbone={name}")


def _timm(name: str, facts: Mapping[str, Any]) -> Normalised:
    import timm

    if not timm.is_model(name):
        hint = did_you_mean(name.partition(".")[0], timm.list_models()) or "; timm.list_models() names them"
        raise ConfigError(f"model.perceptual_backbone={name}: timm {timm.__version__} has no such model{hint}")
    asked = facts.get("model_args") or {}
    if not isinstance(asked, dict) or not all(isinstance(v, int | float | str | list) for v in asked.values()):
        raise ConfigError(f"model.perceptual_weights: model_args={asked!r} of config.json are no plain settings")
    plain = {key: value for key, value in asked.items() if key not in ("num_classes", "pretrained")}
    try:
        try:
            network = timm.create_model(name, pretrained=False, num_classes=0, dynamic_img_size=True, **plain)
        except TypeError:  # a network without a table of positions
            network = timm.create_model(name, pretrained=False, num_classes=0, **plain)
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        raise ConfigError(f"model.perceptual_backbone={name} cannot be built with {plain}: {error}") from error
    told = {**cast(Any, network).pretrained_cfg, **(facts.get("pretrained_cfg") or {})}
    return network, _three(told, "mean", name), _three(told, "std", name)


def _three(settings: Mapping[str, Any], key: str, name: str) -> list[float]:
    values = settings.get(key)
    if not isinstance(values, list | tuple) or not all(isinstance(value, int | float) for value in values):
        raise ConfigError(f"model.perceptual_backbone={name}: {key}={values!r} is no list of numbers")
    return [float(value) for value in values]


def _facts(folder: Path) -> dict[str, Any]:
    try:
        found = plain_json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return dict(found) if isinstance(found.get("architecture"), str) else {}
    except (OSError, *plain_json.MISSHAPEN) as error:
        raise CheckpointError(f"{folder / 'config.json'} cannot be read: {error}") from error


def _read(path: Path, given: str) -> dict[str, Tensor]:
    file = path / "model.safetensors" if path.is_dir() else path
    if not file.is_file():
        raise CheckpointError(f"{given}: {file} does not exist; give a file, nothing is downloaded")
    return read_safetensors(file) if file.suffix == ".safetensors" else read_pth(file)


def _fill(network: nn.Module, state: dict[str, Tensor], given: str, name: str) -> None:
    """Loads all that the network has; a head in the file stays out. Other releases' names are converted by timm."""
    convert = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    try:
        state = cast(Any, convert)(state, network) if callable(convert) else state
    except (KeyError, RuntimeError, ValueError, AttributeError, IndexError) as error:
        raise CheckpointError(f"{given} is not of {name}: {type(error).__name__}: {error}") from error
    wrong = []
    for key, tensor in network.state_dict().items():
        found = tuple(state[key].shape) if key in state else "missing"
        if found != tuple(tensor.shape):
            wrong.append(f"{key} {found}, expected {tuple(tensor.shape)}")
    if wrong:
        raise CheckpointError(
            f"{given} is not of model.perceptual_backbone={name}: {few(wrong, 3, '; ')}; name the network that it is of"
        )
    network.load_state_dict({key: state[key] for key in network.state_dict()})


def _depth(network: nn.Module) -> int:
    """How many feature maps there are to choose from."""
    told = getattr(network, "feature_info", None)
    return len(told) if told is not None else len(cast(Any, network).blocks)


def _patch(network: nn.Module) -> int:
    """What the sides of its images must be multiples of; 1 where it takes any."""
    embed = getattr(network, "patch_embed", None)
    size = getattr(embed, "patch_size", None)
    if size is None:
        arch = getattr(network, "arch", None)
        return int(getattr(arch, "patch", 1))
    return int(size[0] if isinstance(size, tuple | list) else size)
