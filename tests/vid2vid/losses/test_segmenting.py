"""Losses of a discriminator that segments: right values, balance, and pixels of no class."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vid2vid.losses import segmenting

CLASSES = 3


def labelled(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Ids (2, 4, 5) of which a few have no class (-1), one of which is rare; and the same one-hot."""
    ids = torch.zeros(2, 4, 5, dtype=torch.long)
    ids[0, 2:] = 1
    ids[1, 0, 0] = 2
    ids[1, 3] = -1
    onehot = F.one_hot(ids.clamp(min=0), CLASSES).permute(0, 3, 1, 2).float() * (ids >= 0)[:, None]
    return ids, onehot


def logits(seed: int) -> Tensor:
    return 2 * torch.randn(2, CLASSES + 1, 4, 5, generator=torch.Generator().manual_seed(seed))


def test_classes_count_by_the_inverse_of_their_pixels() -> None:
    """OASIS's weights: pixels over (classes that are there x pixels of the class), and the mean over all pixels."""
    ids, onehot = labelled()
    x, known = logits(1), ids >= 0
    counts = [int((ids == c).sum()) for c in range(CLASSES)]
    assert sorted(counts) == [1, 10, 24]
    weights = torch.tensor([int(known.sum()) / (CLASSES * count) for count in counts])
    each = F.cross_entropy(x, ids, reduction="none", ignore_index=-1)
    expected = (each * weights[ids.clamp(min=0)])[known].mean()
    assert float(segmenting.as_labelled(x, onehot)) == pytest.approx(float(expected), rel=1e-5)


def test_absent_classes_do_not_count() -> None:
    _, onehot = labelled()
    onehot[:, 2] = 0
    x = logits(1)
    means = [-(x.log_softmax(1)[:, c] * onehot[:, c]).sum() / onehot[:, c].sum() for c in (0, 1)]
    assert float(segmenting.as_labelled(x, onehot)) == pytest.approx(float(sum(means)) / 2, rel=1e-5)


def test_discriminator_and_generator_sum_up_what_they_should() -> None:
    ids, onehot = labelled()
    real, composed, raw = ([[torch.zeros(1), logits(n)]] for n in (1, 2, 3))
    found = segmenting.discriminator(real, [composed, raw], onehot)
    generated = [F.cross_entropy(logits(n), torch.full_like(ids, CLASSES), reduction="none") for n in (2, 3)]
    expected = torch.stack([each[ids >= 0].mean() for each in generated]).mean()
    assert float(found["fake"]) == pytest.approx(float(expected), rel=1e-5)
    assert torch.equal(found["real"], segmenting.as_labelled(logits(1), onehot))
    both = segmenting.as_labelled(logits(2), onehot) + segmenting.as_labelled(logits(3), onehot)
    torch.testing.assert_close(segmenting.generator([composed, raw], onehot), both)


def test_clips_count_alike_so_that_a_batch_may_be_split() -> None:
    """Two clips of one frame, with two and three classes and fewer labelled pixels in the second."""
    _, onehot = labelled()
    real, fake, of_mixed = (logits(n) for n in (1, 2, 3))
    mask = segmenting.mixing_mask(onehot, torch.Generator().manual_seed(1))
    losses = (
        lambda rows, clips: segmenting.as_labelled(real[rows], onehot[rows], clips),
        lambda rows, clips: segmenting.as_generated(fake[rows], onehot[rows], clips),
        lambda rows, clips: segmenting.consistency(
            of_mixed[rows], real[rows], fake[rows], mask[rows], onehot[rows], clips
        ),
    )
    for loss in losses:
        halves = (loss(slice(1), 1) + loss(slice(1, 2), 1)) / 2
        torch.testing.assert_close(loss(slice(2), 2), halves)
        assert abs(float(loss(slice(2), 1) - halves)) > 1e-3, "as one clip of two frames it is another"


def test_pixels_of_no_class_carry_no_loss() -> None:
    ids, onehot = labelled()
    mask = segmenting.mixing_mask(onehot, torch.Generator().manual_seed(0))
    of_mixed, real, fake = (logits(n).requires_grad_() for n in (1, 2, 3))
    loss = segmenting.as_labelled(real, onehot) + segmenting.as_generated(fake, onehot)
    loss = loss + segmenting.consistency(of_mixed, real, fake, mask, onehot)
    loss.backward()
    for x in (of_mixed, real, fake):
        assert x.grad is not None
        moved = x.grad.abs().sum(1) > 0
        assert torch.equal(moved, ids >= 0)


def test_nothing_labelled_is_no_loss() -> None:
    none = torch.zeros(2, CLASSES, 4, 5)
    x = logits(1).requires_grad_()
    loss = segmenting.as_labelled(x, none) + segmenting.as_generated(x, none)
    loss.backward()
    assert float(loss.detach()) == 0 and x.grad is not None and not x.grad.any()


def test_whole_classes_are_mixed() -> None:
    ids, onehot = labelled()
    seen = set()
    for seed in range(40):
        mask = segmenting.mixing_mask(onehot, torch.Generator().manual_seed(seed))
        assert mask.shape == (2, 1, 4, 5)
        values = [mask[:, 0][ids == c].unique().tolist() for c in (-1, 0, 1, 2)]
        assert all(value in ([0.0], [1.0]) for value in values)
        seen.add(tuple(value[0] for value in values))
    assert len(seen) > 10, "each class by itself"
    real, fake = torch.full((2, 3, 4, 5), 5.0), torch.full((2, 3, 4, 5), -5.0)
    assert torch.equal(segmenting.mixed(mask, real, fake), torch.where(mask.bool(), real, fake))


def test_consistency_is_the_squared_distance_to_the_mix() -> None:
    ids, onehot = labelled()
    mask = segmenting.mixing_mask(onehot, torch.Generator().manual_seed(3))
    real, fake = logits(2), logits(3)
    assert float(segmenting.consistency(segmenting.mixed(mask, real, fake), real, fake, mask, onehot)) == 0
    off = torch.where(mask.bool(), real + 2, fake - 1)
    known = (ids >= 0)[:, None]
    expected = torch.where(mask.bool(), 4.0, 1.0)[known].mean()
    assert float(segmenting.consistency(off, real, fake, mask, onehot)) == pytest.approx(float(expected), rel=1e-5)
