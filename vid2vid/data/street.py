"""data=street: clips and endless sequences of the street world, as a run is configured."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from trainer.data.street.camera import View
from trainer.data.street.scene import FPS
from trainer.data.street.world import StreetWorld, mirror
from trainer.errors import ConfigError
from vid2vid.config import FlowMethod, Vid2VidConfig, wants_instances
from vid2vid.data.first_picture import other_frame, wants_picture


class StreetDataset:
    """Clips of the street world; `SampleDataset` of the trainer.

    ``train`` has data.clips scenes and draws start frame, frame step, flip, zoom and crop; ``val`` and ``test`` have
    data.val_clips scenes, shown from frame 0 without augmentation.

    Raises:
        ConfigError: data.flow=precomputed, which the street cannot have.
    """

    def __init__(
        self, config: Vid2VidConfig, split: str, resolution: tuple[int, int], frames: int, back: int = 0
    ) -> None:
        if config.data.flow is FlowMethod.precomputed:
            raise ConfigError("data.flow=precomputed, but data=street is rendered while training: use data.flow=exact")
        self.config, self.split, self.frames, self.back = config, split, frames, back
        self.resolution = (int(resolution[0]), int(resolution[1]))

    def __len__(self) -> int:
        return self.config.data.clips if self.split == "train" else self.config.data.val_clips

    def name(self, index: int) -> str:
        """The scene."""
        return f"scene {index} of {self.split}"

    def sample(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """Clip of scene ``index``, (T, ...) arrays as described in `vid2vid.data`."""
        data = self.config.data
        world = StreetWorld(data.world_seed, index, self.split, data.street_detail, data.street_houses)
        start, step, flip, view = 0, 1, False, None
        if self.split == "train":
            start = int(rng.integers(data.start_frames))
            step = int(rng.integers(1, data.frame_step + 1))
            flip = bool(rng.random() < data.flip)
            zoom = max(1.0, float(rng.uniform(data.scale[0], data.scale[1])))
            view = View.of(*self.resolution, zoom, (float(rng.random()), float(rng.random())))
        sample = world.render_clip(start, self.frames, step, self.resolution, data.supersample, view, self.back)
        model = self.config.model
        if wants_picture(model):
            shown = [start + k * step for k in range(self.frames)]
            length = max(shown[-1] + 1, data.start_frames if self.split == "train" else 2 * self.frames)
            drawn = rng if self.split == "train" else None
            other = other_frame(max(length, 2), shown, model.past_frames, drawn, world.name)
            sample["picture"] = world.render(other, self.resolution, data.supersample, view)["image"]
        if flip:
            sample = mirror(sample)
        return _as_configured(sample, self.config)


def _as_configured(sample: dict[str, Any], config: Vid2VidConfig) -> dict[str, Any]:
    """Leave out what the configuration does not use; estimate the flow where it asks for another than the exact one."""
    data = config.data
    if not wants_instances(config.model):
        del sample["instances"]
    if data.flow is FlowMethod.none:
        del sample["flow"], sample["confidence"]
    elif data.flow is not FlowMethod.exact:
        import torch

        from vid2vid.flow.estimate import estimate_clip

        estimate = estimate_clip(torch.from_numpy(sample["images"]), data.flow, data.flow_weights)
        sample["flow"], sample["confidence"] = (part.numpy() for part in estimate)
    return sample


class StreetSequence:
    """Frames of one street for generation, rendered as they are asked for.

    Attributes:
        with_flow: frames after the first also have ``flow`` (2, H, W) float32 pixels to the frame before, and
            ``confidence`` (1, H, W) uint8.
    """

    fps = float(FPS)
    with_flow = False

    def __init__(self, config: Vid2VidConfig, split: str, clip: int, frames: int) -> None:
        self.config, self.frames = config, frames
        data = config.data
        self.world = StreetWorld(data.world_seed, clip, split, data.street_detail, data.street_houses)
        self.name = self.world.name

    def __len__(self) -> int:
        return self.frames

    def __iter__(self) -> Iterator[dict[str, Any]]:
        height, width = self.config.resolution
        keys = ("labels", "instances", "image") if wants_instances(self.config.model) else ("labels", "image")
        previous = None
        for k in range(self.frames):
            one = self.world.render(k, (height, width), self.config.data.supersample, previous=previous)
            yield {key: one[key] for key in (*keys, "flow", "confidence") if key in one}
            previous = one["picture"] if self.with_flow else None


def open_street(config: Vid2VidConfig, split: str, clip: int, frames: int | None = None) -> StreetSequence:
    """Scene ``clip`` of a split at config.resolution; ``frames`` of them, data.val_frames by default."""
    return StreetSequence(config, split, clip, config.data.val_frames if frames is None else frames)
