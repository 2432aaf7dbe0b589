"""Patches pasted and trained."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from trainer.device.compute import CPU
from vit.analysis.adversarial.adversary import Adversary
from vit.analysis.adversarial.patches import Freedom, Training, misled, noise_patch, pasted, side_of, train_patch


class Loaded:
    compute = CPU

    def prepare(self, pixels: Tensor) -> Tensor:
        return pixels / 255 - 0.5


class Subject:
    def __init__(self, model: nn.Module) -> None:
        self.model, self.loaded = model, Loaded()

    def classes(self, logits: Tensor) -> Tensor:
        return logits


def test_every_pixel_of_the_patch_is_there_once_and_no_other_changes():
    patch = torch.arange(1, 28).view(3, 3, 3).byte()
    images = torch.full((200, 3, 7, 9), 200, dtype=torch.uint8)
    found = pasted(images, patch, torch.arange(200), seed=0)
    changed = found != 200
    assert changed.sum(dim=(1, 2, 3)).unique().tolist() == [27]
    corners = {(int(mask.any(1).nonzero()[0]), int(mask.any(0).nonzero()[0])) for mask in changed[:, 0]}
    assert corners == {(row, column) for row in range(5) for column in range(7)}, "anywhere inside"
    for picture, mask in zip(found, changed, strict=True):
        assert torch.equal(picture[mask].view(3, 3, 3), patch.float())
    assert torch.equal(pasted(images[5:9], patch, torch.arange(5, 9), seed=0), found[5:9])
    assert not torch.equal(pasted(images, patch, torch.arange(200), seed=1), found)
    whole = pasted(images[:2, :, :, :7], torch.zeros(3, 7, 7), torch.arange(2), seed=0)
    assert float(whole.abs().max()) == 0, "a patch as large as the picture is all of it"


def test_turned_and_resized():
    """Its area goes with the square of its side, whatever its turn; all of it stays inside."""
    images, patch = torch.zeros(100, 1, 60, 60), torch.full((1, 20, 20), 7.0)
    turned = pasted(images, patch, torch.arange(100), 0, Freedom(rotation=45)) == 7
    area = turned.sum(dim=(1, 2, 3)).float()
    assert float(area.mean()) == pytest.approx(400, rel=0.02) and 385 < float(area.min()) < float(area.max()) < 415
    assert float(turned.any(dim=2).sum(dim=2).float().max()) > 26, "some are turned by nearly 45 degrees"
    resized = (pasted(images, patch, torch.arange(100), 0, Freedom(scale=0.5)) == 7).sum(dim=(1, 2, 3)).float().sqrt()
    assert 9.5 <= float(resized.min()) < 12 and 28 < float(resized.max()) <= 30.5


def test_sides():
    assert side_of(0.05, (224, 224)) == 50 and side_of(1, (32, 20)) == 20 and side_of(0.00001, (32, 32)) == 1


def test_what_training_minimises():
    """Of three classes with probabilities 1/2, 1/4, 1/4."""
    scores = torch.tensor([[math.log(2), 0.0, 0.0]])
    assert float(misled(scores, torch.tensor([0]), None)) == pytest.approx(-math.log(1 - 0.5))
    assert float(misled(scores, torch.tensor([0]), 2)) == pytest.approx(-math.log(0.25))


@pytest.mark.parametrize(("target", "signs"), [(None, False), (2, False), (None, True)])
def test_a_trained_patch_beats_the_noise_that_it_began_from(target: int | None, signs: bool):
    """Three classes by the colour of the picture, by a network that looks at means: a patch can say another colour."""

    class Means(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return 40 * images.mean(dim=(2, 3))

    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(60) % 3
    pixels = torch.full((60, 3, 12, 12), 110.0)
    pixels[torch.arange(60), labels] += 12
    pixels = (pixels + torch.randn(pixels.shape, generator=generator)).byte()
    network = Adversary(Subject(Means()))  # pyright: ignore[reportArgumentType]
    training = Training(40, 16, 0.05, signs, target, Freedom())
    patch = train_patch(network, pixels[:30], labels[:30], 4, training, seed=1)
    again = train_patch(network, pixels[:30], labels[:30], 4, training, seed=1)
    assert torch.equal(patch, again) and patch.dtype == torch.uint8 and patch.shape == (3, 4, 4)

    def said(one: Tensor) -> Tensor:
        return network.logits(pasted(pixels[30:], one, torch.arange(30, 60), seed=9)).argmax(dim=1)

    held, noise = labels[30:], noise_patch(3, 4, seed=1)
    assert float((said(noise) == held).float().mean()) > 0.9
    assert float((said(patch) == held).float().mean()) <= (0.7 if target is None else 0.34)
    if target is not None:
        assert bool((said(patch) == target).all())
