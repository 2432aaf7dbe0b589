"""One discriminator forward for both of its uses in a GAN step.

A step needs D on real and on generated input twice: for the generator's loss, whose gradient goes into the frames, and
for the discriminator's own, whose gradient goes into its weights. As the weights do not change in between (the
generator's phase does not touch them), both losses can read the same features. ``SharedDiscriminator`` runs D once, on
leaves cut from the generator's graph; the gradient of the generator's loss at those leaves is taken at once and handed
to the generator as a linear stand-in loss; the discriminator's loss then goes backward through what is kept.

Shapes: an input is (N, ...); real and generated ones are joined along N, and their features split again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from vid2vid.model.discriminators import Features

Objective = Callable[[Features, list[Features]], dict[str, Tensor]]
"""``objective(features of the real input, those of each generated input) -> weighted scalar losses``"""


class SharedDiscriminator:
    """The features of one discriminator call on real input and on several generated ones.

    Within one step::

        shared = SharedDiscriminator(d, real, [composed, raw], condition=labels)
        g_losses = shared.generator_losses(objective)  # backward reaches the generator, never D's weights
        d_losses = gan_discriminator(shared.real, fake) for fake in shared.fakes  # backward reaches D's weights

    The gradients are those of separate forwards: the same mathematics with a third of the forward passes.

    Args:
        discriminator: called once, on the concatenated batch; returns features.
        real: real input.
        fakes: generated inputs of the same shape, attached to the generator's graph.
        prepare: what makes the discriminator's input of each of them; default: nothing.
        condition: handed on to ``discriminator(x, condition=condition)``; see ``MultiscaleDiscriminator.forward``.

        plain: the discriminator as it is without a compiler, for ``predict``; None: the same.
        judged: so many first channels of an input are judged, the others are their condition; None: all are.

    Attributes:
        real: features of the real input.
        fakes: features of each generated input. No gradient goes from here into the generator.
    """

    def __init__(
        self,
        discriminator: Callable[..., list[list[Tensor]]],
        real: Tensor,
        fakes: Sequence[Tensor],
        prepare: Callable[[Tensor], Tensor] | None = None,
        condition: Tensor | None = None,
        plain: Callable[..., list[list[Tensor]]] | None = None,
        judged: int | None = None,
    ) -> None:
        self._attached = [x for x in fakes if x.requires_grad]
        leaves = [x.detach().requires_grad_(x.requires_grad) for x in fakes]
        self._leaves = [x for x in leaves if x.requires_grad]
        inputs = [real.detach(), *leaves]
        if prepare is not None:
            inputs = [prepare(x) for x in inputs]
        joined = torch.cat(inputs)
        features = discriminator(joined) if condition is None else discriminator(joined, condition=condition)
        self._plain, self._condition = plain or discriminator, condition
        sizes = [x.shape[0] for x in inputs]
        self._joined, self._sizes, self.judged = joined.detach(), sizes, judged
        split = [[layer.split(sizes) for layer in scale] for scale in features]
        parts: list[Features] = [[[layer[i] for layer in scale] for scale in split] for i in range(len(sizes))]
        self.real, self.fakes = parts[0], parts[1:]

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """What the discriminator was given, real input first: parts of one tensor, which its graph keeps anyway."""
        return self._joined.split(self._sizes)

    def predict(self, x: Tensor) -> Features:
        """One more call, on input that may be differentiated twice: a changed one of ``inputs``."""
        if self._condition is None:
            return self._plain(x)
        return self._plain(x, condition=self._condition.float())

    def generator_losses(self, objective: Objective, loss_scale: Tensor | float = 1.0) -> dict[str, Tensor]:
        """The generator's losses by name, with their values.

        The gradient of their sum at the generated inputs is taken here; it travels with the first of the returned
        losses, so that the sum's gradient in the generator is right, while single ones' are not.

        Args:
            objective: makes the weighted scalar losses from the features.
            loss_scale: what the trainer multiplies the generator's loss by before backward, ``StepContext.loss_scale``.
                It acts here too, so that small gradients in fp16 do not vanish in D, and what overflows in D reaches
                the scaler as infinity, which makes it smaller.
        """
        values = objective(self.real, self.fakes)
        out = {name: value.detach() for name, value in values.items()}
        if self._leaves:
            total = torch.stack(list(values.values())).sum()
            # The graph is kept for the discriminator's own loss.
            grads = torch.autograd.grad(total * loss_scale, self._leaves, retain_graph=True)
            first = next(iter(out))
            for x, grad in zip(self._attached, grads, strict=True):
                out[first] = out[first] + _Injected.apply(x, grad / loss_scale)
        return out


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
