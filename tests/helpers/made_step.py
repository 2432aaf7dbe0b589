"""Generators of every kind that can be exported, of a few channels."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from tests.helpers.made_run import street_config
from vid2vid.config import ForegroundKind, Norm, SourceKind
from vid2vid.encoding import SourceEncoder
from vid2vid.model import Generator

IDS = [7, 8, 11, 21, 23, 24, 26]
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "paper": {"foreground": ForegroundKind.paper, "foreground_labels": [24, 26]},
    "two scales": {"scales": 2, "foreground": ForegroundKind.override, "foreground_labels": [24, 26, 255]},
    "three scales": {"scales": 3, "past_frames": 1, "local_blocks": 1, "downsamplings": 1},
    "styles": {"style_channels": 3, "style_downsamplings": 2},
    "pictures": {"source": SourceKind.image, "source_channels": 1},
    "labels and pictures": {"source": SourceKind.both, "source_channels": 3, "instance_edges": False},
    "no flow": {"flow": False},
    "no past": {"flow": False, "past_frames": 0, "norm": Norm.instance_plain},
    "an id is ignored": {"label_ids": [7, 8, 255, 24]},
}


def made(**changes: Any) -> tuple[Generator, SourceEncoder]:
    """A generator of a few channels whose outputs differ from place to place, and its encoder."""
    config = street_config()
    config.model = dataclasses.replace(config.model, **{"label_ids": IDS, **changes})
    torch.manual_seed(0)
    encoder = SourceEncoder(config.model, config.data)
    generator = Generator(config.model, encoder.generator_channels)
    for name, parameter in generator.named_parameters():
        if (name.endswith("conv.weight") and "head" in name) or name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.1)
    return generator.eval().requires_grad_(False), encoder
