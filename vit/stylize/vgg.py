"""VGG-19 and its decoders out of local files, in the layouts that are passed around.

A file is read by the order and the shapes of its convolutions, whatever these are called: torchvision's state dict
(``features.0.weight``; pictures are normalised by ImageNet's mean and deviation), and the sequences of ports of AdaIN
and WCT (``0.weight`` or ``conv0.weight``, a convolution of 1x1 pixels first, which does what their pictures need). A
decoder tells its level by its shapes: from relu_k_1 back to the picture, the encoder mirrored.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn

from trainer.checkpoint.weights import read_pth, read_safetensors
from trainer.data.natural_order import natural_key
from trainer.errors import CheckpointError
from trainer.text import by, few
from vit.stylize.network import AutoEncoder, Encoder

WIDTHS, REPEATS = (64, 128, 256, 512, 512), (2, 2, 4, 4)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_SUFFIXES = (".pth", ".pt", ".safetensors")

Convolution = tuple[Tensor, Tensor]  # weight, bias


def load_vgg(encoder: str, decoders: Sequence[str]) -> AutoEncoder:
    """A VGG-19 encoder with the decoders that there are, in eval mode on the CPU, without gradients.

    Args:
        encoder: a file.
        decoders: files, or one folder of them; a level each, in any order.

    Raises:
        CheckpointError: a file that is missing or damaged, or holds no VGG-19, or no decoder of one; or two of a level.
    """
    wanted = _decoder_shapes()
    found: dict[int, tuple[Path, list[Convolution]]] = {}
    for path in _files(decoders):
        convolutions = _convolutions("decoders", path)
        shapes = [tuple(weight.shape) for weight, _ in convolutions]
        level = next((level for level, each in wanted.items() if each == shapes), None)
        if level is None:
            told = few([by(shape) for shape in shapes], 3)
            raise CheckpointError(
                f"decoders={path}: its convolutions ({len(shapes)}: {told}) are no decoder of VGG-19 from relu_k_1: "
                "that begins with 64, 128, 256 or 512 channels and ends with 3, the encoder mirrored"
            )
        if level in found:
            raise CheckpointError(f"decoders: {found[level][0]} and {path} are both of level {level}: leave one out")
        found[level] = (path, convolutions)
    deepest = max(found)
    with torch.random.fork_rng(devices=[]):
        network = AutoEncoder(WIDTHS[:deepest], REPEATS[: deepest - 1], list(found))
    _fill_encoder(network.encoder, Path(encoder))
    for level, (_, convolutions) in found.items():
        _fill(network.decoders[str(level)], convolutions)
    return network.eval().requires_grad_(False)


@cache
def _decoder_shapes() -> dict[int, list[tuple[int, ...]]]:
    """Of the convolutions of every level's decoder."""
    with torch.random.fork_rng(devices=[]):
        whole = AutoEncoder(WIDTHS, REPEATS, range(1, len(WIDTHS) + 1))
    return {level: _shapes(whole.decoders[str(level)]) for level in whole.levels}


def _fill_encoder(encoder: Encoder, path: Path) -> None:
    first, *convolutions = _convolutions("encoder", path)
    if first[0].shape[2:] != (1, 1):
        convolutions.insert(0, first)
        std = torch.tensor(IMAGENET_STD)
        first = (torch.diag(1 / std).view(3, 3, 1, 1), -torch.tensor(IMAGENET_MEAN) / std)
    wanted = _shapes(encoder)[1:]
    shapes = [tuple(weight.shape) for weight, _ in convolutions[: len(wanted)]]
    wrong = next((place for place, pair in enumerate(zip(shapes, wanted, strict=False)) if pair[0] != pair[1]), None)
    if wrong is None and len(shapes) < len(wanted):
        raise CheckpointError(
            f"encoder={path} has {len(shapes)} convolutions, VGG-19 as deep as the decoders {len(wanted)}: give the "
            "whole network, or leave the decoders of deep levels out"
        )
    if wrong is not None:
        raise CheckpointError(
            f"encoder={path} is no VGG-19: convolution {wrong + 1} is {by(shapes[wrong])}, not {by(wanted[wrong])}; "
            "give torchvision's vgg19 file (vgg19-dcbb9e9d.pth), or vgg_normalised.pth of a port of AdaIN"
        )
    _fill(encoder, [first, *convolutions[: len(wanted)]])


def _fill(module: nn.Module, convolutions: Sequence[Convolution]) -> None:
    with torch.no_grad():
        for own, (weight, bias) in zip(_own(module), convolutions, strict=True):
            assert own.bias is not None
            own.weight.copy_(weight)
            own.bias.copy_(bias)


def _own(module: nn.Module) -> list[nn.Conv2d]:
    """Its convolutions in order of use."""
    return [each for each in module.modules() if isinstance(each, nn.Conv2d)]


def _shapes(module: nn.Module) -> list[tuple[int, ...]]:
    return [tuple(conv.weight.shape) for conv in _own(module)]


def _convolutions(key: str, path: Path) -> list[Convolution]:
    """Weights and biases of a file's convolutions, in its order; of safetensors, which keep none, by their names."""
    path = path.expanduser()
    if not path.is_file():
        raise CheckpointError(f"{key}={path}: there is no such file, seen from {Path.cwd()}")
    state: Mapping[str, Tensor]
    if path.suffix == ".safetensors":
        state = dict(sorted(read_safetensors(path).items(), key=lambda pair: natural_key(pair[0])))
    else:
        state = read_pth(path)
    if any(name.endswith("running_mean") for name in state):
        raise CheckpointError(f"{key}={path} has batch norms between its convolutions: give plain VGG-19, not vgg19_bn")
    found = []
    for name, weight in state.items():
        bias = state.get(re.sub(r"weight$", "bias", name))
        if name.endswith("weight") and weight.ndim == 4 and bias is not None:
            found.append((weight.float(), bias.float()))
    if not found:
        raise CheckpointError(f"{key}={path} holds no convolutions with a bias ({few(state, 3)}): it is no VGG-19's")
    return found


def _files(decoders: Sequence[str]) -> list[Path]:
    paths = [Path(word).expanduser() for word in decoders]
    if len(paths) == 1 and paths[0].is_dir():
        inside = sorted((path for path in paths[0].iterdir() if path.suffix in _SUFFIXES), key=lambda p: p.name)
        if not inside:
            raise CheckpointError(f"decoders={paths[0]}: no {', '.join(_SUFFIXES)} in this folder")
        return inside
    return paths
