"""Regions that share one vector: an instance of a class; where there are no instance ids, a class.

A region is told by an int64 key: clip (or frame), class, instance. Instance ids are any int32; a class counts with its
channel, so that ids of no class (`data.ignore_label`) belong to no region.

Shapes: B clips, T frames, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

_INSTANCE, _CLASS = 32, 17  # bits: ids of instances, channels of classes (one more than 16 bits, for "none")


class Region(NamedTuple):
    """What a key says.

    Attributes:
        group: of the clip, or of the frame where each is pooled by itself.
        channel: of the class; -1: ids of no class.
        instance: its id, an int32; 0 where the data have none.
    """

    group: int
    channel: int
    instance: int


def region_keys(channels: Tensor, batch: Mapping[str, Tensor], per_frame: bool = False) -> Tensor:
    """A key for every pixel.

    Args:
        channels: (B, T, H, W) int64, the channel of each pixel's class, -1 for none (``SourceEncoder.class_channels``).
        batch: with ``instances`` (B, T, H, W), where the data have them.
        per_frame: the same instance in two frames is two regions.

    Returns:
        (B, T, H, W) int64.
    """
    groups = torch.arange(channels.shape[0] * (channels.shape[1] if per_frame else 1), device=channels.device)
    groups = groups.view(channels.shape[0], -1, 1, 1)
    keys = ((groups << _CLASS) + channels.clamp(min=-1) + 1) << _INSTANCE
    if "instances" in batch:
        keys = keys + (batch["instances"].long() & ((1 << _INSTANCE) - 1))
    return keys


def region_of(key: int) -> Region:
    """What a key says."""
    instance = key & ((1 << _INSTANCE) - 1)
    rest = key >> _INSTANCE
    channel = (rest & ((1 << _CLASS) - 1)) - 1
    return Region(rest >> _CLASS, channel, instance - (1 << _INSTANCE) if instance >> (_INSTANCE - 1) else instance)


def numbered(keys: Tensor) -> Tensor:
    """Numbers 0, 1, ... for equal keys, in ascending order of them; the shape of ``keys``, int64.

    As ``torch.unique`` with its inverse, which has to wait for the device to know how many there are.
    """
    flat = keys.flatten()
    ordered, order = flat.sort()
    steps = torch.zeros_like(flat)
    steps[1:] = ordered[1:] != ordered[:-1]
    return torch.empty_like(flat).scatter_(0, order, steps.cumsum(0)).view(keys.shape)


def has_class(keys: Tensor) -> Tensor:
    """False for keys of pixels without class; bool in the shape of ``keys``."""
    return (keys >> _INSTANCE) & ((1 << _CLASS) - 1) > 0
