"""The losses of a discriminator that segments (OASIS, Schönfeld et al. 2021), unweighted, in fp32.

Pixels of no class (``data.ignore_label``, and what augmentation cuts out) carry no loss in any of them.

Every one is the mean over the clips of a batch of what each has by itself, so that a batch may be split.

Shapes: N frames, clip by clip, C classes, H x W pixels. Labels are one-hot, (N, C, H, W), zero everywhere at a pixel of
no class; logits are (N, C + 1, H, W), the last one that of "generated".
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vid2vid.model.discriminators import Features


def as_labelled(logits: Tensor, labels: Tensor, clips: int = 1) -> Tensor:
    """Cross-entropy of logits towards the labels, every class that is there counting the same.

    Eq. 1, first term, with eq. 2's weights, the inverse of how many pixels a class has in the frames of a clip (the
    authors: in a batch of pictures); so it is the mean over the classes of their pixels' means. 0 where none has one.

    Args:
        clips: of which the N frames are.
    """
    counts = _summed(labels, clips)
    of_class = _summed(logits.float().log_softmax(1)[:, :-1] * labels, clips) / counts.clamp(min=1)
    return -(of_class.sum(1) / (counts > 0).sum(1).clamp(min=1)).mean()


def as_generated(logits: Tensor, labels: Tensor, clips: int = 1) -> Tensor:
    """Cross-entropy towards "generated", the mean over the pixels of any class: eq. 1, second term."""
    return -_over_known(logits.float().log_softmax(1)[:, -1:], labels.sum(1, keepdim=True), clips)


def _summed(x: Tensor, clips: int) -> Tensor:
    """Sums of (N, C, H, W) over the frames and pixels of each clip, (clips, C)."""
    return x.unflatten(0, (clips, -1)).sum((1, 3, 4))


def _over_known(x: Tensor, known: Tensor, clips: int) -> Tensor:
    """Mean of (N, 1, H, W) over the pixels of each clip that are ``known``, then over the clips."""
    return (_summed(x * known, clips) / _summed(known, clips).clamp(min=1)).mean()


def generator(fakes: Sequence[Features], labels: Tensor, clips: int = 1) -> Tensor:
    """Eq. 3: generated frames shall be segmented as their labels; summed over the generated inputs, as PatchGANs' are.

    Args:
        fakes: features of each (composed frames, hallucination).
        labels: the same for all of them.
    """
    return torch.stack([as_labelled(fake[-1][-1], labels, clips) for fake in fakes]).sum()


def discriminator(real: Features, fakes: Sequence[Features], labels: Tensor, clips: int = 1) -> dict[str, Tensor]:
    """Eq. 1: ``real`` frames as their labels, ``fake`` ones as generated, the mean of the generated inputs."""
    made = torch.stack([as_generated(fake[-1][-1], labels, clips) for fake in fakes])
    return {"real": as_labelled(real[-1][-1], labels, clips), "fake": made.mean()}


def mixing_mask(labels: Tensor, generator: torch.Generator) -> Tensor:
    """LabelMix's mask (section 3.2): whole classes are real or generated, each with probability 1/2.

    One draw holds for all N frames, so that a clip is mixed alike over time.

    Args:
        labels: one-hot.
        generator: on their device.

    Returns:
        (N, 1, H, W): 1 where the mixed frame is real. Pixels of no class are as one more class.
    """
    drawn = torch.rand(labels.shape[1] + 1, generator=generator, device=labels.device) < 0.5
    drawn = drawn.to(labels.dtype)
    known = labels.sum(1, keepdim=True)
    return (labels * drawn[:-1, None, None]).sum(1, keepdim=True) + (1 - known) * drawn[-1]


def mixed(mask: Tensor, real: Tensor, fake: Tensor) -> Tensor:
    """``real`` where the mask is 1, ``fake`` elsewhere: frames or logits."""
    return mask * real + (1 - mask) * fake


def consistency(of_mixed: Tensor, real: Tensor, fake: Tensor, mask: Tensor, labels: Tensor, clips: int = 1) -> Tensor:
    """Eq. 4: squared difference of the mixed frame's logits and the mix of both frames' logits.

    The mean over channels and the pixels of any class. Gradients go into all three, as in the authors' code.
    """
    known = labels.sum(1, keepdim=True)
    square = (of_mixed.float() - mixed(mask, real.float(), fake.float())).square().mean(1, keepdim=True)
    return _over_known(square, known, clips)
