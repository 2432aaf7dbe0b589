"""Averages over instances against loops over their pixels, with their gradients."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.helpers.made_task import configured, make_trainer, one_batch
from trainer.checkpoint.weights import network_tensors
from vid2vid import segments
from vid2vid.config import DataConfig, ModelConfig, StylePooling, Vid2VidStage
from vid2vid.encoding import SourceEncoder, images_to_float
from vid2vid.model import StyleEncoder
from vid2vid.styles.pooling import own_styles, pooled_maps, region_sums

STYLED = ("model.style_channels=3", "model.nef=4", "model.style_downsamplings=2")


def clips(**model) -> tuple[SourceEncoder, dict[str, Tensor]]:
    random = torch.Generator().manual_seed(3)
    encoder = SourceEncoder(ModelConfig(label_ids=[26, 7], style_channels=3, nef=4, style_downsamplings=2, **model),
                            DataConfig())  # fmt: skip
    labels = torch.tensor([26, 7, 255])[torch.randint(0, 3, (2, 3, 8, 8), generator=random)].to(torch.int16)
    instances = torch.randint(-2, 2, (2, 3, 8, 8), generator=random).to(torch.int32)
    images = torch.randint(0, 256, (2, 3, 3, 8, 8), generator=random).to(torch.uint8)
    return encoder, {"labels": labels, "instances": instances, "images": images}


def by_hand(features: Tensor, batch: dict[str, Tensor], per_frame: bool = False) -> Tensor:
    """Pixel by pixel: the mean over all pixels of the same clip (and frame), class and instance."""
    out = torch.zeros_like(features)
    groups = range(3) if per_frame else [slice(None)]
    for b in range(2):
        for frames in groups:
            for label in (26, 7):
                for instance in range(-2, 2):
                    hit = (batch["labels"][b, frames] == label) & (batch["instances"][b, frames] == instance)
                    part = features[b, frames].movedim(-3, 0)  # views of features and out
                    out[b, frames].movedim(-3, 0)[:, hit] = part[:, hit].mean(dim=1, keepdim=True)
    return out


@pytest.mark.parametrize("pooling", list(StylePooling))
def test_every_pixel_gets_the_mean_of_its_instance(pooling: StylePooling) -> None:
    encoder, batch = clips(style_pooling=pooling)
    features = torch.randn(2, 3, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    maps = pooled_maps(features, batch, encoder)
    expected = by_hand(features.detach(), batch, pooling is StylePooling.frame)
    torch.testing.assert_close(maps.detach(), expected)
    assert not maps.detach().movedim(2, -1)[batch["labels"] == 255].any()
    upstream = torch.randn_like(expected)
    maps.backward(upstream)
    # An average over a set is a symmetric matrix: its gradient is the average of the gradients.
    torch.testing.assert_close(features.grad, by_hand(upstream, batch, pooling is StylePooling.frame))


def test_regions_of_millions_of_pixels() -> None:
    """A street of 1024x2048 has so many: 0.7 in each of 4 million, and 0.1 in every thousandth."""
    numbers = (torch.arange(4_000_000) % 1000 == 0).long()
    features = torch.where(numbers == 1, 0.1, 0.7)[None].requires_grad_()
    sums, counts = region_sums(features, numbers, 3)
    assert counts.tolist() == [3_996_000, 4_000, 0]
    assert (sums[0, :2] / counts[:2]).tolist() == pytest.approx([0.7, 0.1], abs=1e-4) and sums[0, 2] == 0
    sums[0, 0].backward()
    assert features.grad is not None and torch.equal(features.grad[0], (numbers == 0).float())


def test_own_styles_of_a_long_clip_are_means_over_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vid2vid.styles.pooling.CHUNK", 2)
    encoder, batch = clips()
    torch.manual_seed(0)
    style = StyleEncoder(encoder.model)
    found = own_styles(style, encoder, batch)
    with torch.no_grad():
        features = style(images_to_float(batch["images"]).flatten(0, 1)).unflatten(0, (2, 3))
    torch.testing.assert_close(found.maps(torch.tensor([2, 0])), by_hand(features, batch)[:, [2, 0]])
    assert int(found.pixels.sum()) == 2 * 3 * 8 * 8


@pytest.mark.parametrize("first", ["model", "real"])
def test_a_segment_is_pooled_as_its_labels_lie_in_time(tmp_path: Path, first: str) -> None:
    """Its frames and the context before them; before the clip the first one's features are repeated, as its labels."""
    words = ["trainer.max_steps=1", f"model.first_frame={first}", *STYLED]
    trainer, task = make_trainer(configured(*words, stages={"all": Vid2VidStage(frames=6)}), tmp_path)
    batch, ctx = one_batch(trainer)
    style, context = task.nets.style, 2 if first == "real" else 0
    assert style is not None
    for index, piece in enumerate(task.segments(batch, ctx)):
        start = context + 3 * index
        shown = slice(max(start - 2, 0), start + 3)
        with torch.no_grad():
            maps = task.passes.styles(piece, style, ctx)
            images = images_to_float(batch["images"][:, shown])
            features = style(images.flatten(0, 1)).unflatten(0, images.shape[:2])
            part = {name: batch[name][:, shown] for name in ("labels", "instances")}
            expected = pooled_maps(features, part, task.nets.encoder)
            expected = torch.cat([expected[:, :1]] * (5 - expected.shape[1]) + [expected], dim=1)
        torch.testing.assert_close(maps, expected)
        assert maps.shape[1] == segments.source(piece, task.nets.encoder).shape[1] == 5


def test_the_generator_teaches_e_and_the_discriminators_do_not(tmp_path: Path) -> None:
    config = configured(*STYLED, "trainer.max_steps=1", stages={"all": Vid2VidStage(frames=3)})
    trainer, task = make_trainer(config, tmp_path)
    assert task.phases(trainer.curriculum.stages[0])[0].modules == ("generator", "style")
    batch, ctx = one_batch(trainer)
    piece = next(task.segments(batch, ctx))
    losses = {name: sum(task.losses(name, piece, ctx).values()) for name in ("d_image", "g")}
    assert isinstance(losses["d_image"], Tensor) and isinstance(losses["g"], Tensor)
    weights = [p for name, p in network_tensors({"style": task.networks()["style"]}).items() if name.endswith("weight")]
    parameters = list(task.networks()["style"].parameters())
    losses["d_image"].backward(retain_graph=True)
    assert all(p.grad is None or not p.grad.any() for p in parameters)
    losses["g"].backward()
    assert weights and all(p.grad is not None and bool(p.grad.any()) for p in parameters if p.ndim > 1)
    judged = task.nets.d_image
    assert judged is not None and judged.get_submodule("scale0").layers[0].conv.weight.shape[1] == 8 + 3
