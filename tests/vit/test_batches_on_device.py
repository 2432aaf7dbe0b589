"""Normalising, Mixup, CutMix and erasing: exact relations between pixels and targets, and distributions."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.helpers.gpu_runs import no_waits
from vit.config import AugmentConfig
from vit.data.augment.erasing import random_erasing
from vit.data.augment.mixup import Mixer, beta
from vit.encoding import normalise
from vit.losses import one_hot

CLASSES = 5


def generator(seed: int = 0, device: str = "cpu") -> torch.Generator:
    return torch.Generator(device).manual_seed(seed)


def batch(count: int = 6, device: str = "cpu") -> tuple[Tensor, Tensor]:
    """Picture i is the constant i, of class i modulo 5."""
    index = torch.arange(count, device=device)
    return index.float().view(-1, 1, 1, 1).expand(count, 3, 20, 30).clone(), one_hot(index % CLASSES, CLASSES)


def mixed(seed: int, **settings: Any) -> tuple[Tensor, Tensor]:
    return Mixer(AugmentConfig(**settings), CLASSES)(*batch(), generator(seed))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_normalise_is_its_formula(channels: int) -> None:
    images = torch.randint(0, 256, (2, channels, 5, 7), dtype=torch.uint8, generator=generator())
    mean, std = [0.485, 0.456, 0.406, 0.5][:channels], [0.229, 0.224, 0.225, 0.25][:channels]
    result = normalise(images, mean, std)
    expected = (images.double() / 255 - torch.tensor(mean).view(-1, 1, 1)) / torch.tensor(std).view(-1, 1, 1)
    assert result.dtype == torch.float32 and (result - expected).abs().max() < 1e-6
    ends = normalise(torch.tensor([0, 255], dtype=torch.uint8).view(1, 1, 1, 2), [0.5], [0.5])
    assert ends.flatten().tolist() == pytest.approx([-1, 1], abs=1e-6)


@pytest.mark.parametrize("settings", [{"mixup": 0.8}, {"cutmix": 1.0}, {"mixup": 0.8, "cutmix": 1.0}])
def test_targets_are_mixed_as_the_pixels_are(settings: dict[str, Any]) -> None:
    images, targets = batch()
    for seed in range(20):
        new_images, new_targets = mixed(seed, **settings)
        assert new_images.shape == images.shape and new_targets.shape == targets.shape
        assert torch.allclose(new_targets.sum(1), torch.ones(6))
        # picture i of the constant i is mixed with picture 5 - i: its mean tells the share of its own pixels
        share = (new_images.mean((1, 2, 3)) - targets.new_tensor([5, 4, 3, 2, 1, 0])) / targets.new_tensor(
            [-5, -3, -1, 1, 3, 5]
        )
        expected = share[:, None] * targets + (1 - share[:, None]) * targets.flip(0)
        assert torch.allclose(new_targets, expected, atol=1e-5)


def test_mixup_weighs_all_pixels_and_cutmix_none() -> None:
    for seed in range(10):
        images, _ = mixed(seed, mixup=0.8)
        assert all(len(image.unique()) == 1 for image in images)
        images, targets = mixed(seed, cutmix=1.0)
        assert set(images[1].unique().tolist()) <= {1.0, 4.0}
        foreign = images[1, 0] == 4.0
        assert targets[1, 1] == pytest.approx(1 - foreign.float().mean().item(), abs=1e-6)  # the true area
        rows, columns = foreign.any(1).sum(), foreign.any(0).sum()
        assert foreign.sum() == rows * columns  # a box


def test_lambda_is_beta_distributed() -> None:
    for alpha in (0.2, 0.8, 1.0, 4.0):
        source = generator(1)
        draws = torch.stack([beta(alpha, source) for _ in range(1000)])
        assert draws.min() >= 0 and draws.max() <= 1
        assert draws.mean().item() == pytest.approx(0.5, abs=0.03)
        assert draws.var().item() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.12)


def test_tiny_alphas_do_not_underflow() -> None:
    source = generator()
    draws = torch.stack([beta(0.001, source) for _ in range(200)])
    assert draws.isfinite().all() and 0.3 < draws.mean() < 0.7


def test_lambda_follows_scipys_distribution() -> None:
    stats = pytest.importorskip("scipy.stats")
    source = generator(2)
    draws = torch.stack([beta(0.8, source) for _ in range(700)]).numpy()
    assert stats.kstest(draws, stats.beta(0.8, 0.8).cdf).pvalue > 0.01


def shares(count: int, **settings: Any) -> Tensor:
    """The first picture's own share in `count` batches."""
    mixer, source = Mixer(AugmentConfig(**settings), CLASSES), generator(3)
    images, targets = batch()  # pictures 0 and 5 are both of class 0: look at the second
    return torch.stack([mixer(images, targets, source)[1][1, 1] for _ in range(count)])


def test_mean_shares() -> None:
    assert shares(600, mixup=0.8).mean() == pytest.approx(0.5, abs=0.05)
    larger = shares(600, mixup=0.2, mixup_max=True)
    assert larger.min() >= 0.5 and larger.mean() > 0.8
    # half of the area on average, less what the border cuts off: a side r keeps r - r^2 / 4 of itself on average,
    # and with r^2 uniform in 0..1 the mean of (r - r^2 / 4)^2 is 1/2 - 1/5 + 1/48 = 0.32
    assert shares(600, cutmix=1.0).mean() == pytest.approx(1 - 0.32, abs=0.03)


def test_probabilities_of_mixing_and_switching() -> None:
    assert (shares(600, mixup=1.0, mix_probability=0.25) == 1).float().mean() == pytest.approx(0.75, abs=0.06)
    mixer, source = Mixer(AugmentConfig(mixup=1.0, cutmix=1.0, mix_switch=0.3), CLASSES), generator(4)
    constant = [len(mixer(*batch(), source)[0][0].unique()) == 1 for _ in range(400)]
    assert sum(constant) / 400 == pytest.approx(0.7, abs=0.09)


def test_what_is_off_changes_nothing() -> None:
    images, targets = batch()
    for augment in (AugmentConfig(), AugmentConfig(mixup=0.8, mix_probability=0.0)):
        mixer = Mixer(augment, CLASSES)
        assert not mixer.active
        new_images, new_targets = mixer(images, targets, generator())
        assert new_images is images and new_targets is targets
    assert random_erasing(images, 0.0, generator()) is images


def test_an_unmixed_batch_is_kept_bitwise() -> None:
    noise = torch.randn(4, 3, 8, 8, generator=generator())
    targets = one_hot(torch.arange(4), CLASSES)
    mixer = Mixer(AugmentConfig(mixup=0.8, cutmix=1.0, mix_probability=1e-9), CLASSES)
    new_images, new_targets = mixer(noise, targets, generator())
    assert torch.equal(new_images, noise) and torch.equal(new_targets, targets)


def test_the_generator_decides_and_only_it() -> None:
    before = torch.get_rng_state()
    for call in (lambda s: mixed(s, mixup=0.8, cutmix=1.0)[0], lambda s: random_erasing(batch()[0], 0.5, generator(s))):
        assert torch.equal(call(7), call(7))
        assert not torch.equal(call(7), call(8))
    assert torch.equal(torch.get_rng_state(), before)


def test_targets_of_other_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="targets have 5 classes, the mixer was made for 7"):
        Mixer(AugmentConfig(mixup=1.0), 7)(*batch(), generator())


def test_erasing_makes_noisy_boxes_of_the_right_share() -> None:
    images = torch.full((400, 3, 32, 32), 9.0)
    erased = random_erasing(images, 0.25, generator())
    assert (images == 9).all()
    changed = erased != 9
    hit = changed.any(dim=1)
    assert hit.any(dim=(1, 2)).float().mean() == pytest.approx(0.25, abs=0.06)
    assert torch.equal(hit, changed.all(dim=1))  # all channels
    areas = []
    for mask in hit[hit.any(dim=(1, 2))]:
        rows, columns = mask.any(1).sum(), mask.any(0).sum()
        assert mask.sum() == rows * columns  # one box
        areas.append(mask.float().mean().item())
        assert 0.25 < rows / columns < 4
    assert min(areas) > 0.012 and max(areas) < 0.36
    assert sum(areas) / len(areas) == pytest.approx((0.02 + 1 / 3) / 2, abs=0.03)
    noise = erased[changed]
    assert noise.mean().abs() < 0.05 and noise.std() == pytest.approx(1, abs=0.05)


def test_erasing_leaves_pictures_that_no_box_fits() -> None:
    images = torch.zeros(8, 1, 1, 1)
    assert torch.equal(random_erasing(images, 1.0, generator()), images)


@pytest.mark.gpu
def test_nothing_waits_for_the_gpu() -> None:
    images = torch.randint(0, 256, (6, 3, 20, 30), dtype=torch.uint8, device="cuda")
    targets = batch(device="cuda")[1]
    source = generator(device="cuda")
    mixer = Mixer(AugmentConfig(mixup=0.8, cutmix=1.0), CLASSES)
    expected = normalise(images.cpu(), [0.5] * 3, [0.25] * 3)
    assert torch.allclose(normalise(images, [0.5] * 3, [0.25] * 3).cpu(), expected, atol=1e-6)
    with no_waits("cuda"):
        floats = normalise(images, [0.5] * 3, [0.25] * 3)
        mixer(random_erasing(floats, 0.5, source), targets, source)
