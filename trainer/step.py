"""One step: every phase that is due, on one segment of every micro-batch, then all of them at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from trainer.errors import ConfigError
from trainer.runtime import Runtime
from trainer.task import Phase, Segment, StepContext


class Stepper(Runtime):
    """A runtime that can take steps: what rehearsals need, and runs are made of."""

    def train_step(self, segments: Sequence[Segment], ctx: StepContext) -> None:
        """One step: the gradients of every phase that is due, on one segment of every micro-batch; then all step.

        Args:
            segments: one per micro-batch.
            ctx: of this step.
        """
        due = [phase for phase in self.active if ctx.step % self.every(phase) == 0]
        self.guard.begin(segments, ctx, [phase.name for phase in due])
        for phase in due:
            self.optimizers[phase.name].zero_grad(set_to_none=True)
        for index, segment in enumerate(segments):
            with self.parallel.micro_batch(last=index == len(segments) - 1):
                for number, phase in enumerate(due):
                    self.guard.watch(number, self.add_gradients(phase, segment, ctx, len(segments)))
            segment.forget()
        used, norms, broken = {}, {}, []
        for name in (phase.name for phase in due):
            parameters = list(self.trained[name].values())
            self.parallel.synchronize(parameters)
            used[name] = [p for p in parameters if p.grad is not None]
            norms[name], bad = self.precision.norm(name, used[name], self.parallel.norms)
            broken.append(bad)
        bad = self.guard.judge(broken)
        for phase in due:
            optimizer = self.optimizers[phase.name]
            if used[phase.name]:
                self.window.add(f"{phase.name}/grad_norm", norms[phase.name], finite=True)
                self.precision.step(phase.name, optimizer, used[phase.name], self.clip(phase), norms[phase.name], bad)
            optimizer.zero_grad(set_to_none=True)
        self.parallel.refresh([parameter for parameters in used.values() for parameter in parameters])
        self.guard.end()
        if self.ema is not None and not self.guard.still:
            self.ema.update(ctx.step)
        self.step += 1

    def add_gradients(self, phase: Phase, segment: Segment, ctx: StepContext, parts: int = 1) -> Tensor:
        """Adds the gradients of a phase's loss on one micro-batch to what its parameters have.

        Args:
            phase: whose loss; only its parameters get gradients.
            segment: of the micro-batch.
            ctx: of this step.
            parts: micro-batches whose mean the phase minimises.

        Returns:
            The loss on this micro-batch; 0 where there is nothing to learn from.
        """
        ctx.loss_scale = self.precision.loss_scale(phase.name)
        losses = self.task.losses(phase.name, segment, ctx)
        for name, value in losses.items():
            self.window.add(f"{phase.name}/{name}", value)
        loss = torch.stack([value.reshape(()) for value in losses.values()]).sum() if losses else None
        if loss is not None and loss.requires_grad:
            parameters = list(self.trained[phase.name].values())
            self.parallel.backward(self.precision.scale(phase.name, loss / parts), parameters)
        elif self.parallel.reduces_in_backward:
            # Without a backward pass the others would wait, or weights drift apart.
            raise ConfigError(
                f"trainer.strategy={self.parallel.strategy.name}: phase {phase.name} has nothing to learn from in a "
                f"micro-batch at step {self.step}; use trainer.strategy=flat, which takes it for zero"
            )
        return torch.zeros((), device=self.device) if loss is None else loss.detach()
