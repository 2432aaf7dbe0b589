"""Whether a clip's end looks as its beginning did: sharpness and mean colour of its quarters, beside the real video's.

A generator that feeds on its own frames may blur, harden or change colour little by little, which a mean over all does
not show. Blind to whatever a clip is from its first frame on: one that is blurred throughout does not drift.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vid2vid.evaluate.metrics import Pair, gradient_magnitude


class Drift:
    """One clip's sharpness and colour, frame by frame; some numbers per frame are all that is kept."""

    def __init__(self) -> None:
        self._gradients: list[Tensor] = []
        self._colours: list[Tensor] = []

    def add(self, generated: Tensor, real: Tensor) -> Pair:
        """The next frames, (T, 3, H, W) in 0..1.

        Returns:
            The pair of `metrics.sharpness` of these frames, which needs the same gradients.
        """
        gradients = torch.stack([gradient_magnitude(generated), gradient_magnitude(real)])
        self._gradients.append(gradients)
        self._colours.append(torch.stack([generated.mean((2, 3)), real.mean((2, 3))]))
        return gradients[0].sum(), gradients[1].sum()

    def pairs(self) -> dict[str, Pair]:
        """Figures of the clip that has ended, none where it has one frame only; weight: clips.

        ``sharpness_drift``: gradient magnitude relative to the real video's, in the last quarter divided by that in the
        first (1: as sharp as at the beginning). ``colour_drift``: by how much the difference between the mean colours
        of generated and real frames has changed from the first quarter to the last, averaged over channels, 0..1.
        """
        gradients = torch.cat(self._gradients, dim=1) if self._gradients else torch.zeros(2, 0)
        count = gradients.shape[1]
        if count < 2:
            return {}
        quarter = max(1, count // 4)
        colours = torch.cat(self._colours, dim=1).double()
        first, last = gradients[:, :quarter].mean(1), gradients[:, -quarter:].mean(1)
        one = torch.ones((), dtype=torch.float64, device=gradients.device)
        # A real video without any gradient (one grey) has no sharpness to compare with.
        flat = torch.stack([first[0], first[1], last[1]]).min() <= 0
        ratio = torch.where(flat, 0.0, (last[0] / last[1]) / (first[0] / first[1]))
        change = colours[:, -quarter:].mean(1) - colours[:, :quarter].mean(1)
        return {
            "sharpness_drift": (ratio, torch.where(flat, 0.0, one)),
            "colour_drift": ((change[0] - change[1]).abs().mean(), one),
        }
