"""A generator of a few channels, and clips of the right size for it."""

import dataclasses

import torch
from torch import nn

from vid2vid.config import ModelConfig
from vid2vid.model import Generator

SMALL = ModelConfig(ngf=4, downsamplings=2, blocks=2, local_blocks=1)
CHANNELS, L = 5, 2


def make(**changes):
    torch.manual_seed(0)
    return Generator(dataclasses.replace(SMALL, **changes), CHANNELS)


def source(frames, height=16, width=32, batch=1):
    ids = torch.randint(0, CHANNELS, (batch, frames, height, width), generator=torch.Generator().manual_seed(1))
    return nn.functional.one_hot(ids, CHANNELS).movedim(-1, 2).float()


def images(frames, height=16, width=32, batch=1):
    return torch.rand(batch, frames, 3, height, width, generator=torch.Generator().manual_seed(2)) * 2 - 1
