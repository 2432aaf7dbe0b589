"""Random streams are functions of counters and of nothing else."""

import random

import numpy as np
import pytest
import torch

from trainer.seeding import batch_rng, epoch_permutation, sample_rng, seed_step


def draw(seed: int, rank: int, step: int) -> tuple:
    generator = seed_step(seed, rank, step, "cpu")
    return (
        torch.rand(3).tolist(),
        torch.rand(3, generator=generator).tolist(),
        np.random.rand(3).tolist(),
        [random.random() for _ in range(3)],
    )


def test_step_streams_repeat_and_differ_by_every_counter():
    first = draw(7, 0, 5)
    torch.rand(100), np.random.rand(9), random.random()
    assert draw(7, 0, 5) == first
    for other in (draw(8, 0, 5), draw(7, 1, 5), draw(7, 0, 6)):
        assert all(a != b for a, b in zip(first, other, strict=True))


def test_uses_of_a_batch_have_streams_of_their_own():
    plain, one, two = (batch_rng(3, 8, *use).random(4).tolist() for use in ((), (1, 0), (2, 0)))
    assert batch_rng(3, 8, 1, 0).random(4).tolist() == one
    assert not set(plain) & set(one) and not set(one) & set(two)


def test_step_generator_is_independent_of_the_global_stream():
    generator = seed_step(0, 0, 0, "cpu")
    expected = torch.rand(4, generator=generator)
    generator = seed_step(0, 0, 0, "cpu")
    torch.rand(17)
    assert torch.equal(torch.rand(4, generator=generator), expected)
    seed_step(0, 0, 0, "cpu")
    assert not torch.equal(torch.rand(4), expected)


@pytest.mark.parametrize("seed", [0, 1, -1, 2**63, -(2**62)])
def test_any_integer_is_a_seed(seed: int):
    assert draw(seed, 0, 0) == draw(seed, 0, 0)
    assert sorted(epoch_permutation(seed, 3, 10)) == list(range(10))


def test_sample_streams_repeat_and_differ_by_every_counter():
    values = {key: sample_rng(*key).random(4).tolist() for key in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]}
    assert len({tuple(v) for v in values.values()}) == 4
    assert all(sample_rng(*key).random(4).tolist() == value for key, value in values.items())


def test_neighbouring_sample_streams_are_uncorrelated():
    rows = np.stack([sample_rng(0, 0, i).standard_normal(2000) for i in range(8)])
    correlation = np.corrcoef(rows) - np.eye(8)
    assert np.abs(correlation).max() < 0.12  # 5 standard errors of 2000 draws


def test_epochs_have_different_orders():
    assert not np.array_equal(epoch_permutation(0, 0, 50), epoch_permutation(0, 1, 50))


def test_batch_streams_repeat_and_differ_by_every_counter():
    values = [batch_rng(*key).random(4).tolist() for key in [(0, 0), (1, 0), (0, 1), (0, 0)]]
    assert values[0] == values[3]
    assert len({tuple(v) for v in values}) == 3
