"""Where a ViT looks, out of its weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.helpers.made_classifier import make_run, mu_config
from tests.helpers.made_vits import made
from trainer.device.compute import CPU
from trainer.errors import ConfigError, UserError
from vit.analysis.occlusion.saliency import Saliency, load_saliency
from vit.config import Fit
from vit.encoding import normalise
from vit.model.timm_model import TimmClassifier


@torch.inference_mode()
@pytest.mark.parametrize("head", [None, 0])
def test_the_class_tokens_attention_in_the_last_block(head: int | None) -> None:
    """Pictures are normalised as the saliency model's are, whatever the one under study wants."""
    model, _ = made(registers=1)
    pixels = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    saliency = Saliency("vit", model, [0.4] * 3, [0.2] * 3, (64, 64), head)
    maps = model.attention_maps(normalise(pixels, [0.4], [0.2]), [-1])[0]
    row = (maps.mean(dim=1) if head is None else maps[:, head])[:, 0, 2:]
    expected = (row / row.sum(dim=1, keepdim=True)).view(2, 4, 4)
    assert torch.allclose(saliency.patches(pixels).float(), expected, atol=1e-6)
    spread = saliency.pixels(pixels)
    assert spread.shape == (2, 64, 64) and torch.allclose(spread.sum(dim=(1, 2)), torch.ones(2).double())
    assert torch.allclose(spread[:, 16, 48] * 256, saliency.patches(pixels)[:, 1, 3])


@torch.inference_mode()
def test_pictures_of_another_size_are_resized_for_it() -> None:
    model, _ = made()
    saliency = Saliency("vit", model, [0.5] * 3, [0.5] * 3, (64, 64), None)
    small = torch.full((1, 3, 32, 32), 90, dtype=torch.uint8)
    large = torch.full((1, 3, 64, 64), 90, dtype=torch.uint8)
    assert torch.allclose(saliency.patches(small), saliency.patches(large), atol=1e-6)
    assert saliency.pixels(small).shape == (1, 32, 32)


@torch.inference_mode()
def test_grey_pictures_for_one_that_sees_colours() -> None:
    model, _ = made()
    saliency = Saliency("vit", model, [0.4, 0.5, 0.6], [0.5] * 3, (64, 64), None)
    grey = torch.randint(0, 256, (2, 1, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(saliency.patches(grey), saliency.patches(grey.expand(-1, 3, -1, -1)))
    with pytest.raises(ConfigError, match="vit sees 3 channels, the pictures have 2"):
        saliency.patches(grey.expand(-1, 2, -1, -1))


@torch.inference_mode()
@pytest.mark.parametrize(("fit", "count", "start"), [(Fit.crop, 2, 8), (Fit.pad, 3, 0)])
def test_patches_that_do_not_divide_the_picture_lie_where_the_network_has_them(
    fit: Fit, count: int, start: int
) -> None:
    """24 pixels in 64: the middle two of 8 to 55, or three of 0 to 71, of which the last is cut off."""
    model, _ = made(patch=24, fit=fit)
    pixels = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    saliency = Saliency("vit", model, [0.5] * 3, [0.5] * 3, (64, 64), None)
    patches, spread = saliency.patches(pixels), saliency.pixels(pixels)
    assert patches.shape == (1, count, count)
    inside = spread[0, start : start + 24 * count, start : start + 24 * count]
    assert float(inside.sum()) == pytest.approx(1)
    assert torch.allclose(inside[::24, ::24] / inside[0, 0], patches[0] / patches[0, 0, 0])
    assert torch.allclose(inside[23, 23] / inside[0, 0], torch.tensor(1.0).double())


def test_of_a_run_and_of_what_has_none(tmp_path: Path) -> None:
    import timm

    task = make_run(tmp_path / "run", mu_config("model.patch=4"))
    found = load_saliency(str(tmp_path / "run"), 0, CPU)
    assert found.name == "run" and found.tokens.grid == (4, 4) and found.size == (16, 16)
    assert found.mean == list(task.built.mean) and found.told.startswith("run ") and found.told.endswith(" head 0")
    with pytest.raises(UserError, match="cnn is a ResNet"):
        Saliency("cnn", TimmClassifier(timm.create_model("test_resnet.r160_in1k")), [0.5], [0.5], (32, 32), None)
