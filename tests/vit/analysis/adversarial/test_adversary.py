"""Attacks within a bound, on networks whose worst picture is known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from trainer.device.compute import CPU
from vit.analysis.adversarial.adversary import Adversary, Search, drawn, noise, quantised


class Loaded:
    """What of a classifier an attack uses: pixels 0..255 become 0..1."""

    compute = CPU

    def prepare(self, pixels: Tensor) -> Tensor:
        return pixels / 255


class Subject:
    def __init__(self, model: nn.Module) -> None:
        self.model, self.loaded = model, Loaded()

    def classes(self, logits: Tensor) -> Tensor:
        return logits


class Linear(nn.Module):
    """Two classes: the second one's score is a weighted sum of the pixels."""

    def __init__(self, weights: Tensor, bias: float) -> None:
        super().__init__()
        self.weights, self.bias = weights, bias

    def forward(self, images: Tensor) -> Tensor:
        score = (images * self.weights).sum(dim=(1, 2, 3)) + self.bias
        return torch.stack([-score, score], dim=1)


def bent() -> nn.Module:
    """A small network with curvature, so that one step is not the best."""
    torch.manual_seed(3)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 3)).requires_grad_(False).double()


def pictures(count: int = 40) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count, 3, 2, 2), generator=generator, dtype=torch.uint8)
    return pixels, torch.randint(0, 2, (count,), generator=generator), torch.arange(count)


def adversary(model: nn.Module) -> Adversary:
    return Adversary(Subject(model))  # pyright: ignore[reportArgumentType]


def test_a_linear_score_moves_by_eps_times_the_weights():
    """The worst picture of a linear network is known: every pixel moves by eps against the truth's weights."""
    weights = torch.tensor([1.0, -2.0, 0.5]).view(3, 1, 1).expand(3, 2, 2)
    pixels = torch.full((2, 3, 2, 2), 100, dtype=torch.uint8)
    labels = torch.tensor([1, 0])
    with torch.inference_mode():  # as in a pass over data
        one = adversary(Linear(weights, 0.0)).attack(pixels, labels, labels, Search(5, 1, 5))
        many = adversary(Linear(weights, 0.0)).attack(pixels, labels, labels, Search(5, 20, 2.5 * 5 / 20, True))
    expected = torch.stack([100 - 5 * weights.sign(), 100 + 5 * weights.sign()])
    assert torch.equal(one.pixels, expected)
    assert torch.allclose(many.pixels, expected)
    moved = float(one.logits[0, 1] - Linear(weights, 0.0)(pixels[:1] / 255)[0, 1])
    assert moved == pytest.approx(-5 / 255 * float(weights.abs().sum()), rel=1e-4)
    assert one.losses.shape == (2, 2) and bool((one.losses[1] > one.losses[0]).all())


def test_nothing_leaves_the_bound_or_the_scale():
    pixels, labels, index = pictures()
    for search in (Search(8, 1, 8), Search(8, 5, 4, True), Search(3.7, 5, 2, True, True)):
        found = adversary(bent().float()).attack(pixels, labels, index, search)
        assert float((found.pixels - pixels).abs().max()) <= search.eps
        assert float(found.pixels.min()) >= 0 and float(found.pixels.max()) <= 255
        assert float((found.pixels - pixels).abs().max()) > 0.9 * int(search.eps)
        if search.quantised:
            assert torch.equal(found.pixels, found.pixels.round())
    same = adversary(bent().float()).attack(pixels, labels, index, Search(0, 20, 0, True))
    assert torch.equal(same.pixels, pixels.float()), "eps 0 is the picture itself, exactly"


def test_whole_levels_stay_within_the_bound():
    clean = torch.tensor([10.0, 10.0, 0.0, 255.0])
    assert quantised(torch.tensor([12.6, 7.4, 0.0, 255.0]), clean, 2.7).tolist() == [12, 8, 0, 255]


def test_many_steps_find_more_than_one_and_starts_more_than_one_start():
    pixels, labels, index = pictures(200)
    network = adversary(bent().float())
    network.float32 = True
    one = network.attack(pixels, labels, index, Search(40, 1, 40)).losses[-1].mean()
    found = network.attack(pixels, labels, index, Search(40, 20, 5))
    assert float(found.losses[-1].mean()) > float(one) and torch.equal(found.losses[0], found.losses.min(dim=0).values)
    start = network.attack(pixels, labels, index, Search(40, 3, 10, True))
    more = network.attack(pixels, labels, index, Search(40, 3, 10, True), restarts=4)
    assert bool((more.losses[-1] >= start.losses[-1]).all() | ~network.right(more.logits, labels).all())
    right, still = network.right(start.logits, labels), network.right(more.logits, labels)
    assert not bool((still & ~right).any()), "what one start fooled stays fooled"


def test_an_answer_does_not_depend_on_the_batch():
    pixels, labels, index = pictures()
    search = Search(8, 3, 4, True)
    whole = adversary(bent().float()).attack(pixels, labels, index, search, seed=5, restarts=2)
    parts = [adversary(bent().float()).attack(pixels[at], labels[at], index[at], search, seed=5, restarts=2)
             for at in (slice(0, 7), slice(7, 40))]  # fmt: skip
    assert torch.equal(whole.pixels, torch.cat([part.pixels for part in parts]))
    other = adversary(bent().float()).attack(pixels, labels, index, search, seed=6, restarts=2)
    assert not torch.equal(whole.pixels, other.pixels)


def test_a_picture_without_a_gradient_is_told():
    """A network that looks at one picture only where it is bright."""

    class Dark(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            lit = (images - 0.5).clamp_min(0).sum(dim=(1, 2, 3))
            return torch.stack([lit, 1 - lit], dim=1)

    pixels = torch.stack([torch.zeros(3, 2, 2), torch.full((3, 2, 2), 200.0)]).byte()
    labels = torch.tensor([1, 1])
    found = adversary(Dark()).attack(pixels, labels, labels, Search(8, 2, 4))
    assert found.flat.tolist() == [True, False]


def test_noise_is_as_large_as_the_bound_and_of_either_sign():
    pixels = torch.full((50, 3, 4, 4), 100, dtype=torch.uint8)
    noisy = noise(pixels, torch.arange(50), 4, seed=0)
    assert set(noisy.unique().tolist()) == {96, 104}
    assert 0.45 < float((noisy > 100).float().mean()) < 0.55
    assert torch.equal(noise(pixels[7:9], torch.arange(7, 9), 4, seed=0), noisy[7:9])
    assert drawn(torch.arange(40), (2, 3), 1).shape == (40, 2, 3)


def test_pgd_takes_more_accuracy_than_fgsm_and_noise_less():
    pixels, _, index = pictures(300)
    network = adversary(bent().float())
    labels = network.logits(pixels.float()).argmax(dim=1)
    left = [
        network.right(logits, labels).float().mean().item()
        for logits in (
            network.attack(pixels, labels, index, Search(40, 20, 5)).logits,
            network.attack(pixels, labels, index, Search(40, 1, 40)).logits,
            network.logits(noise(pixels, index, 40, 0)),
        )
    ]
    assert left[0] < left[1] < left[2] < 1
