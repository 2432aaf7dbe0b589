"""One discriminator pass that serves two losses: its own and the generator's.

Both are evaluated at the same weights (the generator steps first and does not touch the discriminator), so passing every
frame once is the same mathematics as passing it detached for one loss and attached for the other. The generated frames
enter as detached leaves; the generator's gradient with respect to them is computed at once and handed on by a surrogate
whose gradient it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Features = list[list[Tensor]]
Objective = Callable[[Features, list[Features]], dict[str, Tensor]]


class SharedDiscriminator:
    """Real and generated frames through a discriminator in one concatenated call.

    Args:
        discriminate: input (N, C, H, W) to features per scale and layer; its parameters require gradients.
        real: real frames, any shape that ``prepare`` takes.
        fakes: generated frames of the same shape, attached to the generator's graph.
        prepare: frames to discriminator input; differentiable.

    Attributes:
        real: features of the real frames.
        fakes: features of each of ``fakes``.
    """

    def __init__(
        self,
        discriminate: Callable[[Tensor], Features],
        real: Tensor,
        fakes: Sequence[Tensor],
        prepare: Callable[[Tensor], Tensor] = lambda x: x,
    ) -> None:
        self._attached = list(fakes)
        self._leaves = [fake.detach().requires_grad_(torch.is_grad_enabled()) for fake in fakes]
        inputs = [prepare(x) for x in (real, *self._leaves)]
        features = discriminate(torch.cat(inputs))
        count = inputs[0].shape[0]

        def part(index: int) -> Features:
            return [[layer[index * count : (index + 1) * count] for layer in scale] for scale in features]

        self.real = part(0)
        self.fakes = [part(index) for index in range(1, len(inputs))]

    def generator_losses(self, objective: Objective, scale: float = 1.0) -> dict[str, Tensor]:
        """The generator's losses on this pass, with gradients that reach the generator and not the discriminator.

        Args:
            objective: features of real frames and of each of the fakes to named scalar losses.
            scale: what the loss will be multiplied by before backward (fp16), to keep small gradients in range.

        Returns:
            The same losses by name. Their values are right one by one; their gradient is right for their sum.
        """
        losses = objective(self.real, self.fakes)
        total = torch.stack(list(losses.values())).sum()
        # The graph is kept: the discriminator's own loss goes back through it afterwards.
        gradients = torch.autograd.grad(total * scale, self._leaves, retain_graph=True)
        surrogate = total.new_zeros(())
        for frames, gradient in zip(self._attached, gradients, strict=True):
            surrogate = surrogate + (frames * (gradient / scale)).sum()
        first, *rest = losses
        carried = {first: losses[first].detach() + (surrogate - surrogate.detach())}
        return carried | {name: losses[name].detach() for name in rest}
