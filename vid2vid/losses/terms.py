"""vid2vid's losses as pure functions of tensors: unweighted, in fp32 (Wang et al. 2018, eqs. 5-8).

Images are (..., 3, H, W) in [-1, 1], flows (..., 2, H, W) in pixels, backward (x_t -> x_{t-1}); confidences
(..., 1, H, W) are 1 where the reference flow is trusted. "Masked" means that both sides are multiplied by the
confidence and the mean still runs over all pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from vid2vid.config import Gan, ModelConfig, PerceptualKind
from vid2vid.model.discriminators import Features
from vid2vid.model.warp import warp

L1_INSTEAD = 10.0  # weight of L1 in place of the perceptual loss, as the demo has it


def gan_generator(
    fake: Features, kind: Gan = Gan.lsgan, weights: Tensor | None = None, real: Features | None = None
) -> Tensor:
    """What the generator minimises of eqs. 6 and 7 on predictions of generated input; summed over scales.

    Args:
        weights: (N) what each input counts; the mean still runs over all N. None: all alike.
        real: predictions of the real input with the same labels, for ``Gan.relativistic``, which compares each patch
            with its own (Jolicoeur-Martineau 2019; R3GAN, Huang et al. 2024, eq. 2).
    """
    total = torch.zeros((), device=fake[0][-1].device)
    for scale, features in enumerate(fake):
        prediction = features[-1].float()
        if kind is Gan.relativistic:
            assert real is not None
            total = total + _mean(F.softplus(real[scale][-1].float() - prediction), weights)
        elif kind is Gan.lsgan:
            total = total + _mean((prediction - 1).square(), weights)
        elif kind is Gan.hinge:
            total = total - _mean(prediction, weights)
        else:
            total = total + _mean(F.softplus(-prediction), weights)
    return total


def gan_discriminator(
    real: Features, fake: Features, kind: Gan = Gan.lsgan, weights: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The discriminator's two halves of eqs. 6 and 7, each summed over scales; it minimises 0.5 * (real + fake).

    Relativistic losses have no halves: both are then the whole of it.

    Args:
        weights: as of ``gan_generator``.
    """
    device = real[0][-1].device
    on_real, on_fake = torch.zeros((), device=device), torch.zeros((), device=device)
    for real_features, fake_features in zip(real, fake, strict=True):
        r, f = real_features[-1].float(), fake_features[-1].float()
        if kind is Gan.relativistic:
            halves = (F.softplus(f - r),) * 2
        elif kind is Gan.lsgan:
            halves = (r - 1).square(), f.square()
        elif kind is Gan.hinge:
            halves = F.relu(1 - r), F.relu(1 + f)
        else:
            halves = F.softplus(-r), F.softplus(f)
        on_real, on_fake = on_real + _mean(halves[0], weights), on_fake + _mean(halves[1], weights)
    return on_real, on_fake


def discriminator(
    judged: Sequence[tuple[Features, Sequence[Features]]],
    kind: Gan = Gan.lsgan,
    weights: Sequence[Tensor | None] | None = None,
) -> dict[str, Tensor]:
    """What a discriminator minimises, ``real`` and ``fake``: half the sum of both terms, as in the released code.

    Args:
        judged: per temporal scale that had input, the features of the real input and those of each generated one
            (composed and raw frames). Without any there is nothing to learn from, and no loss.
        weights: for each of ``judged``, as of ``gan_generator``.
    """
    each = weights or [None] * len(judged)
    pairs = [
        gan_discriminator(real, fake, kind, weight)
        for (real, fakes), weight in zip(judged, each, strict=True)
        for fake in fakes
    ]
    if not pairs:
        return {}
    on_real, on_fake = zip(*pairs, strict=True)
    return {"real": 0.5 * torch.stack(on_real).sum(), "fake": 0.5 * torch.stack(on_fake).sum()}


def feature_matching(fake: Features, real: Features, weights: Tensor | None = None) -> Tensor:
    """L1 between the discriminator's features of generated and (detached) real input, the prediction left out.

    Wang et al. 2018b (pix2pixHD), eq. 4, weighted as in the released code: each layer counts 4 / (layers + 1), where
    ``layers + 1`` is the number of layers before the prediction, and the scales are averaged.

    Args:
        weights: as of ``gan_generator``.
    """
    total = torch.zeros((), device=fake[0][0].device)
    for fake_features, real_features in zip(fake, real, strict=True):
        weight = 4 / (len(fake_features) - 1) / len(fake)
        for f, r in zip(fake_features[:-1], real_features[:-1], strict=True):
            f, r = f.float(), r.detach().float()
            total = total + weight * (F.l1_loss(f, r) if weights is None else _mean((f - r).abs(), weights))
    return total


def _mean(x: Tensor, weights: Tensor | None) -> Tensor:
    """Over all elements of (N, ...), each of the N with its weight."""
    return x.mean() if weights is None else (x.flatten(1).mean(1) * weights).mean()


def l1(a: Tensor, b: Tensor) -> Tensor:
    """Mean absolute difference: in the place of a perceptual loss without weights, or beside it."""
    return F.l1_loss(a.float(), b.float())


def l1_weight(model: ModelConfig) -> float:
    """The weight of L1: as configured, else ``L1_INSTEAD`` where a perceptual loss is wanted but has no weights.

    Without either of them nothing but the discriminators says what a frame should look like.
    """
    if model.lambda_l1 is not None:
        return model.lambda_l1
    wanted = model.lambda_perceptual > 0 and model.loss_perceptual is not PerceptualKind.none
    return L1_INSTEAD if wanted and model.perceptual_weights is None else 0.0


def masked_l1(a: Tensor, b: Tensor, mask: Tensor) -> Tensor:
    """Mean over *all* pixels and channels of |a * mask - b * mask|; the mask broadcasts."""
    return ((a.float() - b.float()) * mask.float()).abs().mean()


def flow(predicted: Tensor, reference: Tensor, confidence: Tensor, scales: int = 1) -> Tensor:
    """Eq. 8, first term: masked L1 between flows in pixels, divided by ``2**(scales - 1)``.

    Args:
        scales: generator scales in use; flows grow with the resolution.
    """
    return masked_l1(predicted, reference, confidence) / 2 ** (scales - 1)


def flow_warp(predicted: Tensor, previous: Tensor, current: Tensor, confidence: Tensor) -> Tensor:
    """Eq. 8, second term: masked L1 between the real frame and the *real* previous one warped by the predicted flow."""
    return masked_l1(_warp(previous, predicted), current, confidence)


def output_warp(generated: Tensor, previous: Tensor, reference: Tensor, confidence: Tensor) -> Tensor:
    """Masked L1 between a generated frame and the previous generated one warped by the reference flow.

    Not in the paper's equations but in the released code. No gradient reaches the previous frame.
    """
    with torch.no_grad():
        target = _warp(previous, reference)
    return masked_l1(generated, target, confidence)


def palindrome(returned: Tensor, before: Tensor) -> Tensor:
    """L1 between the frames of the way back and those of the way forth that show the same (Chu et al. 2020, eq. 3).

    There gradients go both ways. Here the way forth is the target: its frames have been fed back less often and so have
    drifted less, and what is behind them belongs to earlier updates.
    """
    return F.l1_loss(returned.float(), before.detach().float())


def mask(predicted: Tensor, confidence: Tensor) -> Tensor:
    """Mean of the mask where the reference flow is trusted: rather warp than hallucinate there.

    Not in the paper's equations but in the released code.
    """
    return masked_l1(predicted, torch.zeros_like(predicted), confidence)


def _warp(image: Tensor, by: Tensor) -> Tensor:
    """``warp`` with any number of leading dimensions."""
    lead = image.shape[:-3]
    return warp(image.flatten(0, -4), by.flatten(0, -4)).unflatten(0, lead)
