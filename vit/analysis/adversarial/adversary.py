"""Pictures changed within a bound so that a classifier errs: FGSM and PGD, with the gradients of the pixels.

Goodfellow et al., "Explaining and harnessing adversarial examples", 2015 (FGSM: one step along the gradient's sign);
Madry et al., "Towards deep learning models resistant to adversarial attacks", 2018 (PGD: many small ones, from a random
start, each brought back within the bound). The loss is the cross entropy of the data's classes.

Shapes: B pictures, C channels, H x W pixels on a scale of 0..255, so that a bound of 4 is the papers' 4/255.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vit.analysis.chance import run_seed, uniform
from vit.analysis.subjects import Subject

_AT_A_TIME = 32 * 224 * 224  # pixels of the pictures whose activations are kept for a gradient


@dataclass(frozen=True)
class Search:
    """How a picture is changed.

    Attributes:
        eps: the most that a pixel may change, in grey levels of 0..255 (l_inf).
        steps: along the gradient's sign.
        step: length of each, in grey levels.
        random_start: begin at a random place within the bound rather than at the picture.
        quantised: the result is whole grey levels, as a file would keep it.
    """

    eps: float
    steps: int
    step: float
    random_start: bool = False
    quantised: bool = False


@dataclass(frozen=True)
class Attacked:
    """Pictures that were changed, and what is said of them.

    Attributes:
        pixels: (B, C, H, W) float32, 0..255.
        logits: (B, K of the head).
        losses: (steps + 1, B) float32 [nats]: at the start, after every step.
        flat: (B,) bool: the gradient at the start was zero everywhere.
    """

    pixels: Tensor
    logits: Tensor
    losses: Tensor
    flat: Tensor


class Adversary:
    """Knows a classifier and its gradients (white box).

    Args:
        subject: the classifier; in eval mode.
        float32: compute in float32 rather than in the precision of the run: coarser gradients make weaker attacks.
    """

    def __init__(self, subject: Subject, float32: bool = True) -> None:
        self.subject, self.float32 = subject, float32

    def logits(self, pixels: Tensor) -> Tensor:
        """Of the head, (B, K), as ``Subject.logits``."""
        if not self.float32:
            return self.subject.logits(pixels)
        with torch.autocast(pixels.device.type, enabled=False):
            return self.subject.model(self.subject.loaded.prepare(pixels))

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Cross entropy of every picture, (B,) float32 [nats]."""
        return F.cross_entropy(self.subject.classes(logits).float(), labels, reduction="none")

    def right(self, logits: Tensor, labels: Tensor) -> Tensor:
        """(B,) bool."""
        return self.subject.classes(logits).argmax(dim=1) == labels

    def gradient(self, pixels: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The gradient of every picture's loss by its own pixels, (B, C, H, W), and the losses, (B,)."""
        with torch.inference_mode(False), torch.enable_grad():  # passes over data are without gradients
            asked = pixels.clone().requires_grad_()
            losses = self.losses(self.logits(asked), labels.clone())
            (gradient,) = torch.autograd.grad(losses.sum(), asked)
            return gradient, losses.detach()

    def attack(
        self, pixels: Tensor, labels: Tensor, index: Tensor, search: Search, seed: int = 0, restarts: int = 1
    ) -> Attacked:
        """The worst that was found for every picture: an error before none, then the higher loss.

        Args:
            pixels: (B, C, H, W), uint8 or floating.
            labels: (B,) int64: classes of the data.
            index: (B,) int64: what the random start of a picture is a function of, besides the seed and the restart.
            restarts: from so many starts; those after the first are tried on pictures that withstood so far.
        """
        height, width = pixels.shape[-2:]
        size = max(1, _AT_A_TIME // (height * width))
        parts = zip(pixels.split(size), labels.split(size), index.split(size), strict=True)
        found = [self._worst(*part, search, seed, restarts) for part in parts]
        return Attacked(
            torch.cat([part.pixels for part in found]),
            torch.cat([part.logits for part in found]),
            torch.cat([part.losses for part in found], dim=1),
            torch.cat([part.flat for part in found]),
        )

    def _worst(
        self, pixels: Tensor, labels: Tensor, index: Tensor, search: Search, seed: int, restarts: int
    ) -> Attacked:
        worst = self._once(pixels, labels, index, search, run_seed(seed, 0))
        for restart in range(1, restarts):
            rest = self.right(worst.logits, labels).nonzero()[:, 0]
            if not len(rest):
                break
            again = self._once(pixels[rest], labels[rest], index[rest], search, run_seed(seed, restart))
            worse = ~self.right(again.logits, labels[rest]) | (again.losses[-1] > worst.losses[-1, rest])
            places, which = rest[worse], worse.nonzero()[:, 0]
            worst.pixels[places], worst.logits[places] = again.pixels[which], again.logits[which]
            worst.losses[:, places] = again.losses[:, which]
        return worst

    def _once(self, pixels: Tensor, labels: Tensor, index: Tensor, search: Search, seed: int) -> Attacked:
        clean = pixels.float()
        low, high = (clean - search.eps).clamp_min(0), (clean + search.eps).clamp_max(255)
        changed = clean
        if search.random_start:
            shift = drawn(index, clean.shape[1:], seed).mul_(2).sub_(1)
            changed = torch.clamp(clean + search.eps * shift, low, high)
        losses, flat = [], torch.zeros_like(labels, dtype=torch.bool)
        for step in range(search.steps):
            gradient, loss = self.gradient(changed, labels)
            if step == 0:
                flat = (gradient == 0).flatten(1).all(dim=1)
            losses.append(loss)
            changed = torch.clamp(changed + search.step * gradient.sign(), low, high)
        if search.quantised:
            changed = quantised(changed, clean, search.eps)
        logits = self.logits(changed)
        losses.append(self.losses(logits, labels))
        return Attacked(changed, logits, torch.stack(losses), flat)


def quantised(changed: Tensor, clean: Tensor, eps: float) -> Tensor:
    """Whole grey levels in place of ``changed``, within ``eps`` of the clean ones, which are whole."""
    most = math.floor(eps)
    return torch.clamp(changed.round(), (clean - most).clamp_min(0), (clean + most).clamp_max(255))


def noise(pixels: Tensor, index: Tensor, eps: float, seed: int) -> Tensor:
    """Pictures of which every value is ``eps`` higher or lower by chance, within 0..255: (B, C, H, W) float32.

    As large as what FGSM makes, in every norm.
    """
    signs = drawn(index, pixels.shape[1:], seed).sub_(0.5).sign_()
    return (pixels.float() + eps * signs).clamp_(0, 255)


def drawn(index: Tensor, shape: Sequence[int], seed: int) -> Tensor:
    """Numbers in [0, 1) of every picture, (B, *shape) float32; few pictures at a time, as they are drawn in 64 bits."""
    count = math.prod(shape)
    return torch.cat([uniform(seed, part, count).float().view(-1, *shape) for part in index.split(32)])
