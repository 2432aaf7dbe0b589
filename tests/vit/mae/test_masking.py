"""What is masked, and what the loss is of."""

import pytest
import torch

from vit.mae.masking import masked_by, patches, pictures, random_order, reconstruction_loss


def test_three_quarters_are_masked_of_each_picture():
    order = random_order(50, 16, torch.Generator().manual_seed(0))
    assert torch.equal(order.sort(dim=1).values, torch.arange(16).expand(50, 16))
    mask = masked_by(order, 0.75)
    assert mask.kept.shape == (50, 4) and mask.masked.sum(dim=1).tolist() == [12] * 50
    assert not mask.masked.gather(1, mask.kept).any()
    everything = torch.cat([mask.kept, order[:, 4:]], dim=1)
    assert torch.equal(everything.gather(1, mask.restore), torch.arange(16).expand(50, 16)), "back in their places"
    assert len({str(row.tolist()) for row in order}) > 45
    again = random_order(50, 16, torch.Generator().manual_seed(0))
    assert torch.equal(again, order)


def test_one_patch_is_left_on_either_side():
    order = torch.arange(4)[None]
    assert masked_by(order, 0.99).kept.tolist() == [[0]] and masked_by(order, 0.01).masked.tolist() == [[0, 0, 0, 1]]


def test_patches_are_there_and_back():
    """Patch 1 of a 4x6 picture of 2x2 patches: rows 0 and 1, columns 2 and 3; colours of a pixel side by side."""
    images = torch.arange(2 * 3 * 4 * 6).float().view(2, 3, 4, 6)
    parts = patches(images, 2)
    assert parts.shape == (2, 6, 12)
    assert parts[0, 1].tolist() == [float(images[0, c, y, x]) for y in (0, 1) for x in (2, 3) for c in range(3)]
    assert torch.equal(pictures(parts, 2, (2, 3)), images)


def test_the_loss_is_over_masked_patches_alone():
    """Told 0 everywhere: the mean square of what is masked; relative to its patch, (n - 1) / n but for epsilon."""
    parts = torch.tensor([[[1.0, 3.0], [5.0, 5.0], [2.0, 4.0]]])
    masked = torch.tensor([[True, False, True]])
    told = torch.zeros_like(parts)
    assert float(reconstruction_loss(told, parts, masked, False)) == pytest.approx((1 + 9 + 4 + 16) / 4)
    assert float(reconstruction_loss(told, parts, masked, True)) == pytest.approx(0.5, abs=1e-5)
    right = torch.tensor([[[-(0.5**0.5), 0.5**0.5], [9.0, 9.0], [-(0.5**0.5), 0.5**0.5]]])
    assert float(reconstruction_loss(right, parts, masked, True)) == pytest.approx(0.0, abs=1e-6)
