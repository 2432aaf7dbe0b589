"""In fp16 the gradient that a discriminator hands to the generator is scaled as the trainer found it to fit."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from vid2vid.networks.sharing import SharedDiscriminator


def judged(x: Tensor) -> list[list[Tensor]]:
    return [[60 * x.half()]]  # features in half precision, as under autocast


def gradient(scale: Tensor | float) -> Tensor:
    """Of 8 times the sum of the features at a generated frame: 480 everywhere."""
    frame = torch.zeros(1, 3, 4, 4, requires_grad=True)
    shared = SharedDiscriminator(judged, torch.zeros(1, 3, 4, 4), [frame])
    losses = shared.generator_losses(lambda real, fakes: {"gan": 8 * fakes[0][0][0].float().sum()}, scale)
    assert losses["gan"].dtype is torch.float32
    (found,) = torch.autograd.grad(losses["gan"], frame)
    return found


@pytest.mark.parametrize("scale", [1.0, 64.0, torch.tensor(64.0)])
def test_the_gradient_does_not_depend_on_the_scale(scale: Tensor | float) -> None:
    torch.testing.assert_close(gradient(scale), torch.full((1, 3, 4, 4), 480.0))


def test_what_overflows_is_seen_by_the_scaler() -> None:
    """It then lowers the scale: a fixed one would overflow for ever."""
    assert bool(gradient(2.0**12).isinf().all())
