"""Noise on the frames that a generator is given back in training, so that it learns to mend what goes wrong in them.

Generated frames are never quite right, and a generator that trusts them repeats and enlarges every error. Noise on the
history in training, as of Ho et al. (2022, cascaded diffusion, "conditioning augmentation") and Valevski et al. (2024,
GameNGen, where it keeps thousands of frames from drifting), makes it look at the labels again.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class FeedbackNoise:
    """Gaussian noise of one segment.

    The clips of a batch share it, so that it does not depend on how the batch is split.

    Args:
        std: standard deviation, in the units of frames (-1..1).
        generator: that it is drawn from, seeded for this segment.
    """

    def __init__(self, std: float, generator: torch.Generator) -> None:
        self.std, self.generator = std, generator

    def like(self, history: Sequence[Tensor]) -> list[Tensor]:
        """New noise for a history (B, L, 3, Hs, Ws) of every scale: (1, L, 3, Hs, Ws) each, in float32."""
        return [self.std * torch.randn((1, *x.shape[1:]), generator=self.generator, device=x.device) for x in history]
