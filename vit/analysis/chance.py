"""Random numbers that are a function of (seed, picture, place): the same on every device, whatever the batches are.

A generator that is drawn from batch by batch gives a picture other numbers when the batch size, the number of workers
or the other conditions change. Here each number is hashed from what it belongs to (SplitMix64's finaliser, Steele et
al., "Fast splittable pseudorandom number generators", 2014).
"""

from __future__ import annotations

import torch
from torch import Tensor

_GAMMA = 0x9E3779B97F4A7C15  # the golden ratio in 64 bits: SplitMix64's step
_FIRST, _SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_MANTISSA = 53


def uniform(seed: int, pictures: Tensor, count: int) -> Tensor:
    """Numbers in [0, 1), ``count`` for each picture.

    Args:
        seed: of the run; any whole number.
        pictures: (B,) int64: what tells a picture from others, such as its index in the data set.

    Returns:
        (B, count) float64, on the pictures' device.
    """
    start = _mixed(pictures.long() * _signed(_GAMMA) + int(_mixed(torch.tensor(_signed(seed & (2**64 - 1)))).item()))
    steps = torch.arange(1, count + 1, device=pictures.device) * _signed(_GAMMA)
    words = _mixed(_mixed(start)[:, None] + steps)
    return _shifted(words, 64 - _MANTISSA).double() / 2.0**_MANTISSA


def normal(seed: int, pictures: Tensor, count: int) -> Tensor:
    """Numbers of the standard normal distribution (Box and Muller, 1958).

    Returns:
        (B, count) float64.
    """
    draws = uniform(seed, pictures, 2 * count)
    radius = (-2.0 * torch.log1p(-draws[:, :count])).sqrt()
    return radius * torch.cos(2.0 * torch.pi * draws[:, count:])


def permutation(seed: int, pictures: Tensor, count: int) -> Tensor:
    """A random order of 0 .. count - 1 for each picture: (B, count) int64."""
    return uniform(seed, pictures, count).argsort(dim=1)


def run_seed(seed: int, run: int) -> int:
    """The seed of one of several runs, of which no two of two seeds are the same."""
    return seed * 1_000_003 + run


def _signed(word: int) -> int:
    return word - 2**64 if word >= 2**63 else word


def _shifted(words: Tensor, bits: int) -> Tensor:
    """Shifted right as if without a sign."""
    return (words >> bits) & ((1 << (64 - bits)) - 1)


def _mixed(words: Tensor) -> Tensor:
    words = (words ^ _shifted(words, 30)) * _signed(_FIRST)
    words = (words ^ _shifted(words, 27)) * _signed(_SECOND)
    return words ^ _shifted(words, 31)
