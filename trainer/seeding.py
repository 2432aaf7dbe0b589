"""Random streams that are functions of counters, so that nothing has to be stored to resume exactly.

A step's stream comes from (seed, rank, step), a sample's from (seed, epoch, index), an epoch's order from
(seed, epoch), a batch's from (seed, samples_seen). Each use has its own domain key, so equal counters never give
equal streams.
"""

from __future__ import annotations

import random

import numpy as np
import torch

_STEP, _SAMPLE, _ORDER, _BATCH = 1, 2, 3, 4
_MASK = 2**64 - 1  # seeds may be negative


def _sequence(seed: int, *key: int) -> np.random.SeedSequence:
    return np.random.SeedSequence(seed & _MASK, spawn_key=key)


def seed_step(seed: int, rank: int, step: int, device: torch.device | str) -> torch.Generator:
    """Seed every global stream (torch on the CPU and on ``device``, numpy, random) for one step.

    Args:
        seed: the run's seed, any integer.
        rank: number of this process; two processes draw different numbers.
        step: the step about to be taken.
        device: where the returned generator lives.

    Returns:
        A generator of its own on ``device``: what is drawn from it does not depend on draws from the global
        streams.
    """
    words = _sequence(seed, _STEP, rank, step).generate_state(4, np.uint64).tolist()
    if torch.device(device).type == "cpu":
        torch.default_generator.manual_seed(words[0])  # torch.manual_seed costs 0.5 ms here, for devices not in use
    else:
        torch.manual_seed(words[0])
    random.seed(words[1])
    np.random.seed(words[2] & 0xFFFFFFFF)
    generator = torch.Generator(device=device)
    generator.manual_seed(words[3])
    return generator


def sample_rng(seed: int, epoch: int, index: int) -> np.random.Generator:
    """The stream of one sample's augmentation: the same in any worker, process and order of reading."""
    return np.random.Generator(np.random.Philox(_sequence(seed, _SAMPLE, epoch, index)))


def epoch_permutation(seed: int, epoch: int, n: int) -> np.ndarray:
    """The order of the n samples in an epoch: a permutation of 0..n-1, int64 (n,)."""
    return np.random.Generator(np.random.Philox(_sequence(seed, _ORDER, epoch))).permutation(n)


def batch_rng(seed: int, samples_seen: int, *use: int) -> np.random.Generator:
    """The stream of a batch: the same in every process and for every micro-batch, however the batch is split.

    Args:
        seed: the run's seed.
        samples_seen: the batch's position.
        use: numbers that tell one use's stream from another's.
    """
    return np.random.Generator(np.random.Philox(_sequence(seed, _BATCH, samples_seen, *use)))
