"""Samples of clips: what is drawn is drawn once for all frames, and a picture is a clip of one frame."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from trainer.cli import compose
from vit.config import AugmentConfig, VitConfig
from vit.data import build_dataset
from vit.data.clips.dataset import ClipDataset
from vit.data.clips.moving_shapes import MovingShapes
from vit.data.clips.sampling import Sampling
from vit.data.kinds import ClipOrder, CropKind
from vit.data.transforms import EvalTransform, TrainTransform
from vit.validate import problems


class Still(MovingShapes):
    """Clips of a still picture."""

    def frames(self, index: int, choose: Callable[[int], np.ndarray]) -> Tensor:
        return super().frames(index, lambda count: np.zeros_like(choose(count)))


@pytest.mark.parametrize("auto", [None, "rand-m9-mstd0.5-inc1", "bv_randaugment-n2-m10", "autoaugment", "three"])
def test_all_frames_are_augmented_alike(auto: str | None) -> None:
    augment = AugmentConfig(crop=CropKind.inception, flip=0.5, auto=auto, color_jitter=0.3)
    dataset = ClipDataset(Still("train", (24, 24), 8), TrainTransform(augment, (16, 16)), 3, Sampling(4, 2))
    seen = []
    for index in range(8):
        image = dataset.sample(index, np.random.default_rng(index))["image"]
        assert image.shape == (4, 3, 16, 16) and image.dtype == torch.uint8
        assert all(frame.equal(image[0]) for frame in image[1:])
        seen.append(image[0])
    again = dataset.sample(0, np.random.default_rng(1))["image"][0]
    assert not again.equal(seen[0])  # other numbers, another crop


def test_what_evaluation_sees() -> None:
    source = MovingShapes("val", (16, 16), 8)
    transform = EvalTransform(AugmentConfig(eval_crop_ratio=1.0), (16, 16))
    whole = source.frames(3, np.arange)

    def image(**words: Any) -> Tensor:
        sample = ClipDataset(source, transform, 3, Sampling(**words)).sample(3, np.random.default_rng(0))
        assert sample["name"] == "val/3" and sample["label"] == source.label(3)
        return sample["image"]

    assert image(frames=4, stride=2).equal(whole[[12, 14, 16, 18]])
    assert image(frames=4, stride=2, views=2).equal(torch.stack([whole[[0, 2, 4, 6]], whole[[25, 27, 29, 31]]]))
    assert image(frames=1).equal(whole[15])
    assert image(frames=3, order=ClipOrder.still).equal(whole[[15, 15, 15]])


def config(*words: str) -> VitConfig:
    found = compose(["model=vit_ti16", *words], {"vit": VitConfig})
    assert isinstance(found, VitConfig)
    return found


def test_pictures_are_clips_of_one_frame() -> None:
    clips = build_dataset(config("data=shapes", "model.frames=3", "model.tubelet=1"), "val", (16, 16))
    pictures = build_dataset(config("data=shapes"), "val", (16, 16))
    rng = np.random.default_rng(0)
    image, picture = clips.sample(2, rng), pictures.sample(2, rng)
    assert image["label"] == picture["label"]
    assert image["image"].shape == (3, 3, 16, 16) and all(frame.equal(picture["image"]) for frame in image["image"])


def test_clips_of_one_frame_are_pictures() -> None:
    dataset = build_dataset(config("data=moving_shapes"), "train", (16, 16))
    images = [dataset.sample(0, np.random.default_rng(seed))["image"] for seed in range(6)]
    assert images[0].shape == (3, 16, 16) and any(not image.equal(images[0]) for image in images)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["model.frames=8", "model.temporal_depth=6"],
            "model.temporal_depth=6 is of model.space_time=factorised_encoder, not factorised_attention",
        ),
        (["model.frames=7"], "model.frames=7: model.tubelet=2 does not divide it; try model.frames=6"),
        (["model.frames=0"], "model.frames=0"),
        (["model.frames=8", "model.patch_dropout=0.5"], "model.patch_dropout=0.5: networks of clips (model.frames=8)"),
        (["model.frames=8", "model.distilled=true"], "model.distilled=true: networks of clips"),
        (["data.clip_views=3"], "data.clip_views=3 is for networks of clips: set model.frames above 1"),
        (["data=moving_shapes", "data.cache=true"], "data.cache=true keeps pictures"),
        (["model.frames=4", "data.clip_stride=0"], "data.clip_stride=0"),
        (["model.name=resnet18", "model.frames=4"], "model.frames=4 is of our ViTs"),
    ],
)
def test_what_does_not_go_together_is_named(words: list[str], said: str) -> None:
    assert any(said in problem for problem in problems(config(*words)))
    assert problems(config("data=moving_shapes", "model.frames=8")) == []
