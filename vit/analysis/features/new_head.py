"""A trained network with another head, and the file that it is used from: no training run is needed for it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trainer.errors import ConfigError
from vit.build import head_parameters
from vit.config import Pool
from vit.model.timm_model import TimmClassifier, bare
from vit.model.transformer import VisionTransformer
from vit.preprocessing import Preprocessing
from vit.weights import preprocessors
from vit.weights.formats import write_folder
from vit.weights.writing import write


def with_head(model: nn.Module, weight: Tensor, bias: Tensor) -> VisionTransformer | TimmClassifier:
    """A copy of a classifier whose head is a given linear layer on its representation.

    Args:
        model: ours or timm's, with any head or none.
        weight: (K, R). bias: (K,).

    Returns:
        In eval mode, on the CPU, its parameters without gradients.

    Raises:
        ConfigError: its head is none that a linear layer can take the place of.
    """
    classes = len(weight)
    if isinstance(model, VisionTransformer):
        if model.arch.pool is Pool.none:
            raise ConfigError("a network with pool=none has features of each token, no head of a picture")
        with torch.random.fork_rng(devices=[]):
            found: Any = VisionTransformer(replace(model.arch, num_classes=classes, probe_norm=False))
        own = {name: value for name, value in model.state_dict().items() if not name.startswith(("head", "probe_norm"))}
        found.load_state_dict(own, strict=False)
    else:
        assert isinstance(model, TimmClassifier)
        net: Any = copy.deepcopy(model.net)
        with torch.random.fork_rng(devices=[]):
            net.reset_classifier(classes)
        found = TimmClassifier(net, model.options)
    found = found.cpu().eval().requires_grad_(False)
    tensors = dict(found.named_parameters())
    names = head_parameters(found, classes)
    linear = all(tensors[name].shape == (weight if name.endswith(".weight") else bias).shape for name in names)
    whole = {name.rpartition(".")[0] for name in names}
    if not names or not linear or len(names) != 2 * len(whole):
        raise ConfigError(f"the last layer of a {type(bare(found)).__name__} is no linear one")
    for name in names:
        tensors[name].copy_(weight if name.endswith(".weight") else bias)
    return found


def save_classifier(
    model: VisionTransformer | TimmClassifier,
    place: Path,
    preprocessing: Preprocessing,
    classes: Sequence[str],
) -> tuple[Path, list[str]]:
    """Write a classifier so that ``weights=PATH`` reads it: ours as ``PLACE.safetensors``, one of timm's as its folder.

    Args:
        place: without an ending.
        preprocessing: how it is evaluated.
        classes: names, by index.

    Returns:
        The file or the folder; what of the preprocessing it does not carry.
    """
    if isinstance(model, VisionTransformer):
        path = place.with_name(f"{place.name}.safetensors")
        done = write(model.state_dict(), model.arch, path, "safetensors", classes=classes, **preprocessing.told())
        return path, done.notes
    net: Any = model.net
    cfg = dict(net.pretrained_cfg)
    entries, notes = preprocessors.to_timm(preprocessing)
    size = preprocessing.size or tuple(cfg["input_size"][1:])
    channels = len(preprocessing.mean or cfg["mean"])
    kept = ("first_conv", "classifier", "fixed_input_size", "pool_size")
    arguments = {**model.options, "num_classes": len(classes), "in_chans": channels}
    if getattr(getattr(net, "patch_embed", None), "img_size", None) is not None:
        arguments["img_size"] = list(size)
    config = {
        "architecture": cfg["architecture"],
        "num_classes": len(classes),
        "num_features": int(net.num_features),
        "model_args": arguments,
        "pretrained_cfg": {name: cfg[name] for name in kept if cfg.get(name) is not None}
        | {"num_classes": len(classes), "input_size": [channels, *size], **entries},
        "label_names": list(classes),
    }
    write_folder(place, net.state_dict(), {"config.json": config})
    return place, notes
