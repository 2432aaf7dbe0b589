"""Losses against closed forms: initial values, soft targets, smoothing, focal, class weights, several labels."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from trainer.errors import ConfigError
from vit.build import initial_bias
from vit.config import ClassWeights, LossConfig, LossKind
from vit.losses import EFFECTIVE_BETA, Criterion, class_weights, one_hot

NAMES = ["ant", "bee", "cat", "dog", "eel"]


def criterion(kind: LossKind = LossKind.softmax, classes: int = 5, multilabel: bool = False, **more: Any) -> Criterion:
    names = NAMES if classes == 5 else [str(k) for k in range(classes)]
    return Criterion(LossConfig(kind=kind, **more), names, None, multilabel)


def example(seed: int = 0, mixed: bool = False) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(7, 5, generator=generator)
    targets = one_hot(torch.randint(0, 5, (7,), generator=generator), 5)
    return logits, 0.7 * targets + 0.3 * targets.flip(0) if mixed else targets


@pytest.mark.parametrize(
    ("kind", "independent", "several"),
    [
        (LossKind.softmax, False, False),
        (LossKind.sigmoid, True, True),
        (LossKind.bce, True, True),
        (LossKind.focal, False, True),
    ],
)
def test_what_a_loss_is_for(kind: LossKind, independent: bool, several: bool) -> None:
    assert (kind.independent, kind.several_labels) == (independent, several)
    assert criterion(kind).independent == independent
    assert initial_bias(LossConfig(kind=kind), 8) == (-math.log(8) if independent else 0.0)
    if several:
        assert criterion(kind, multilabel=True).independent
    else:
        with pytest.raises(ConfigError, match=f"loss.kind={kind.name}.* use loss.kind=sigmoid, bce or focal"):
            criterion(kind, multilabel=True)


@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_a_zero_head_starts_at_ln_k(classes: int) -> None:
    loss = criterion(classes=classes)(torch.zeros(4, classes), one_hot(torch.tensor([0, 1, 1, 0]), classes))
    torch.testing.assert_close(loss, torch.full((4,), math.log(classes)), rtol=2e-7, atol=0)


def test_the_bias_of_sigmoid_losses_starts_them_at_about_ln_k_plus_1() -> None:
    """7.91 at K = 1000 and the bias -6.9 of big_vision; bce is its mean over classes."""
    logits, targets = torch.full((1, 1000), -6.9), one_hot(torch.tensor([3]), 1000)
    summed = criterion(LossKind.sigmoid, 1000)(logits, targets).item()
    assert summed == pytest.approx(7.91, abs=0.005)
    exact = math.log1p(1000) + 999 * math.log1p(1 / 1000)
    start = criterion(LossKind.sigmoid, 1000)(torch.full((1, 1000), -math.log(1000)), targets).item()
    assert start == pytest.approx(exact, rel=1e-5) and exact == pytest.approx(math.log(1000) + 1, abs=1e-3)
    assert criterion(LossKind.bce, 1000)(logits, targets).item() == pytest.approx(summed / 1000, rel=1e-5)


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_softmax_is_torchs_cross_entropy(mixed: bool, smoothing: float) -> None:
    logits, targets = example(mixed=mixed)
    expected = F.cross_entropy(logits, targets, label_smoothing=smoothing, reduction="none")
    torch.testing.assert_close(criterion(smoothing=smoothing)(logits, targets), expected)


def test_sigmoid_is_torchs_binary_cross_entropy() -> None:
    logits, targets = example(mixed=True)
    expected = F.binary_cross_entropy_with_logits(logits, targets, reduction="none").sum(1)
    torch.testing.assert_close(criterion(LossKind.sigmoid)(logits, targets), expected)


def test_bce_counts_every_share_as_one_and_smooths_afterwards() -> None:
    logits, targets = example(mixed=True)
    hard = (targets > 0).float()
    assert (hard != targets).any()
    plain = F.binary_cross_entropy_with_logits(logits, hard, reduction="none").mean(1)
    torch.testing.assert_close(criterion(LossKind.bce)(logits, targets), plain)
    smooth = F.binary_cross_entropy_with_logits(logits, hard * 0.9 + 0.1 / 5, reduction="none").mean(1)
    torch.testing.assert_close(criterion(LossKind.bce, smoothing=0.1)(logits, targets), smooth)


def test_focal_without_gamma_is_cross_entropy_and_otherwise_weighs_down_the_easy() -> None:
    logits, targets = example()
    p = (logits.softmax(1) * targets).sum(1)
    torch.testing.assert_close(criterion(LossKind.focal, gamma=0.0)(logits, targets), -p.log())
    torch.testing.assert_close(criterion(LossKind.focal, gamma=2.0)(logits, targets), -((1 - p) ** 2) * p.log())
    several = criterion(LossKind.focal, multilabel=True, gamma=2.0)(logits, targets)
    q = torch.where(targets > 0, logits.sigmoid(), 1 - logits.sigmoid())
    torch.testing.assert_close(several, -((1 - q) ** 2 * q.log()).sum(1), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", list(LossKind))
def test_gradients_stay_finite_for_extreme_logits(kind: LossKind) -> None:
    logits = torch.tensor([[80.0, -80, 0, 0, 0], [-200, 200, 0, 0, 0]], requires_grad=True)
    loss = criterion(kind, smoothing=0.1, gamma=0.5)(logits, one_hot(torch.tensor([0, 0]), 5))
    loss.sum().backward()
    assert torch.isfinite(loss).all() and logits.grad is not None and torch.isfinite(logits.grad).all()


def test_losses_are_fp32_whatever_comes() -> None:
    logits, targets = example()
    assert criterion()(logits.bfloat16(), targets).dtype == torch.float32


def test_balanced_weights_make_the_average_sample_weigh_one() -> None:
    counts = [10, 20, 30, 0, 40]
    weights = class_weights(LossConfig(class_weights=ClassWeights.balanced), NAMES, counts)
    assert weights is not None
    assert weights.tolist() == pytest.approx([2.0, 1.0, 100 / 150, 1.0, 0.5])


def test_effective_weights_are_those_of_cui() -> None:
    counts = [10, 200, 3000, 40, 50000]
    weights = class_weights(LossConfig(class_weights=ClassWeights.effective), NAMES, counts)
    assert weights is not None
    raw = [(1 - EFFECTIVE_BETA) / (1 - EFFECTIVE_BETA**n) for n in counts]
    assert weights.tolist() == pytest.approx([5 * x / sum(raw) for x in raw], rel=1e-5)


def test_weights_by_name_multiply_and_weigh_samples() -> None:
    logits, _ = example()
    labels = torch.tensor([0, 1, 2, 3, 4, 0, 1])
    values = {"bee": 3.0, "eel": 0.5}
    loss = criterion(class_weight_values=values)(logits, one_hot(labels, 5))
    weight = torch.tensor([1.0, 3.0, 1.0, 1.0, 0.5])
    torch.testing.assert_close(loss, F.cross_entropy(logits, labels, weight=weight, reduction="none"))
    summed = criterion(LossKind.sigmoid, class_weight_values=values)(logits, one_hot(labels, 5))
    plain = criterion(LossKind.sigmoid)(logits, one_hot(labels, 5))
    torch.testing.assert_close(summed, plain * weight[labels])
    both = class_weights(
        LossConfig(class_weights=ClassWeights.balanced, class_weight_values={"ant": 10.0}), NAMES, [1, 1, 1, 1, 4]
    )
    assert both is not None and both.tolist() == pytest.approx([16.0, 1.6, 1.6, 1.6, 0.4])


def test_weights_of_several_labels_go_with_the_positive_half() -> None:
    logits, _ = example()
    targets = (torch.rand(7, 5, generator=torch.Generator().manual_seed(1)) > 0.5).float()
    weight = torch.tensor([1.0, 3.0, 1.0, 1.0, 0.5])
    loss = criterion(LossKind.sigmoid, multilabel=True, class_weight_values={"bee": 3.0, "eel": 0.5})(logits, targets)
    expected = F.binary_cross_entropy_with_logits(logits, targets, pos_weight=weight, reduction="none").sum(1)
    torch.testing.assert_close(loss, expected)


def test_several_labels_smooth_each_for_itself() -> None:
    logits, targets = torch.zeros(1, 5), torch.tensor([[1.0, 1, 0, 0, 0]])
    expected = F.binary_cross_entropy_with_logits(logits + 1, targets * 0.8 + 0.1, reduction="none").sum(1)
    torch.testing.assert_close(
        criterion(LossKind.sigmoid, multilabel=True, smoothing=0.2)(logits + 1, targets), expected
    )


def test_mistakes_are_named() -> None:
    with pytest.raises(ConfigError, match=r"class_weight_values\.bea: .*did you mean 'bee'"):
        criterion(class_weight_values={"bea": 2.0})
    with pytest.raises(ConfigError, match="does not tell how many samples"):
        criterion(class_weights=ClassWeights.balanced)
    with pytest.raises(ConfigError, match=r"loss\.kind=softmax.*several labels"):
        criterion(multilabel=True)


def test_one_hot_leaves_shares_alone() -> None:
    assert one_hot(torch.tensor([2, 0]), 3).tolist() == [[0, 0, 1], [1, 0, 0]]
    shares = torch.tensor([[0.5, 0.5]])
    assert torch.equal(one_hot(shares, 2), shares)
