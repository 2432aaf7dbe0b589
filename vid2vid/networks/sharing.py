"""One discriminator forward for both of its uses in a GAN step.

A step needs D on real and on generated input twice: for the generator's loss, whose gradient goes into the frames, and
for the discriminator's own, whose gradient goes into its weights. As the weights do not change in between (the
generator's phase does not touch them), both losses can read the same features. ``SharedDiscriminator`` runs D once, on
leaves cut from the generator's graph; the gradient of the generator's loss at those leaves is taken at once and handed
to the generator as a linear stand-in loss; the discriminator's loss then goes backward through what is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from vid2vid.losses import Features

Score = Callable[[Sequence[Features], Features], dict[str, Tensor]]
"""``score(features of each generated input, features of the real input) -> weighted losses``"""


class SharedDiscriminator:
    """The features of one discriminator call on real input and on several generated ones.

    Use within one step::

        shared = SharedDiscriminator(d, real_input, [composed_input, raw_input])
        losses_g = shared.generator_losses(score_g)        # adds to the generator's loss; backward as usual
        losses_d = shared.discriminator_losses(score_d)    # backward reaches D's weights only

    The gradients are those of separate forwards: the same mathematics with a third of the forward passes.

    Args:
        discriminator: called once as ``discriminator(x)`` on the concatenated batch; returns features.
        real: (N, C, H, W).
        fakes: generated inputs like it, attached to the generator's graph.
    """

    def __init__(
        self,
        discriminator: Callable[[Tensor], list[list[Tensor]]],
        real: Tensor,
        fakes: Sequence[Tensor],
    ) -> None:
        self._attached = list(fakes)
        self._leaves = [x.detach().requires_grad_(x.requires_grad) for x in fakes]
        features = discriminator(torch.cat([real.detach(), *self._leaves]))
        sizes = [real.shape[0], *(x.shape[0] for x in fakes)]
        parts: list[Features] = [
            [[layer.split(sizes)[i] for layer in scale] for scale in features] for i in range(len(sizes))
        ]
        self.real: Features = parts[0]
        self.fakes: list[Features] = parts[1:]

    def generator_losses(self, score: Score) -> dict[str, Tensor]:
        """The generator's losses, with their values, whose gradients reach the generator and not the discriminator.

        Args:
            score: makes weighted scalar losses from the features; their sum is differentiated.
        """
        values = score(self.fakes, self.real)
        live = [leaf for leaf in self._leaves if leaf.requires_grad]
        if not live:
            return {name: value.detach() for name, value in values.items()}
        total = torch.stack([value for value in values.values()]).sum()
        grads = torch.autograd.grad(total, live, retain_graph=True)
        surrogate = torch.zeros((), device=total.device)
        attached = [x for x, leaf in zip(self._attached, self._leaves, strict=True) if leaf.requires_grad]
        for x, grad in zip(attached, grads, strict=True):
            surrogate = surrogate + _Injected.apply(x, grad)
        out = {name: value.detach() for name, value in values.items()}
        first = next(iter(out))
        out[first] = out[first] + surrogate
        return out

    def discriminator_losses(self, score: Score) -> dict[str, Tensor]:
        """The discriminator's losses on the same features. Their backward also reaches the leaves, and stops there."""
        return score(self.fakes, self.real)


class _Injected(torch.autograd.Function):
    """Zero in the forward pass, a given gradient in the backward pass."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor, grad: Tensor) -> Tensor:
        ctx.save_for_backward(grad)
        return torch.zeros((), device=x.device)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *grads: Tensor) -> tuple[Tensor, None]:
        (grad,) = ctx.saved_tensors  # pyright: ignore[reportAttributeAccessIssue]
        return grad * grads[0].to(grad.dtype), None
