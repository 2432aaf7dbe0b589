"""data=street: a procedural street seen from a driving car, with labels, instances, exact flow and occlusion.

Nothing is read from disk: frame k of clip c of a split is a function of (seed, split, c, k), at any resolution.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from trainer.errors import ConfigError
from vid2vid.config import FlowMethod, Vid2VidConfig, wants_instances
from vid2vid.data.first_picture import other_frame, wants_picture
from vid2vid.data.street import objects as S
from vid2vid.data.street.camera import View, frame_at
from vid2vid.data.street.render import Picture, draw
from vid2vid.data.street.scene import FPS, SPLITS, StreetScene


class StreetWorld:
    """One endless street.

    Args:
        seed, clip, split: identify the scene; scenes that differ in any of them share only textures.
        detailed: also poles, traffic signs and terrain (ids 17, 20, 22).
        houses: each has an instance id of its own.

    Raises:
        ValueError: unknown split.
    """

    fps = FPS

    def __init__(self, seed: int, clip: int, split: str, detailed: bool = False, houses: bool = False) -> None:
        if split not in SPLITS:
            raise ValueError(f"split={split!r}: must be one of {', '.join(SPLITS)}")
        self.scene = StreetScene(seed, split, clip, detailed, houses)
        self.name = f"street-{split}-{seed}-{clip:04d}"

    def render(
        self,
        frame: int,
        resolution: tuple[int, int],
        supersample: int = 1,
        view: View | None = None,
        previous: Picture | None = None,
    ) -> dict[str, Any]:
        """One frame at (H, W) = ``resolution``.

        Returns:
            labels (H, W) int16, instances (H, W) int32 (class * 1000 + number for cars, people and, where they have
            ids, houses, else the class),
            image (3, H, W) uint8, depth (H, W) float32 in metres along the optical axis, picture (for ``previous``);
            given ``previous``, the picture of another frame at the same resolution: flow (2, H, W) float32 pixels to
            that frame and confidence (1, H, W) uint8.
        """
        view = view or View.of(*resolution)
        time = frame / FPS
        now = frame_at(self.scene, time, view)
        picture = draw(now, supersample == 1, previous)
        pixels = picture.image
        if pixels is None:
            fine = draw(frame_at(self.scene, time, view.refined(supersample)))
            assert fine.image is not None
            height, width = resolution
            samples = fine.image.reshape(3, height, supersample, width, supersample)
            pixels = (samples.mean((2, 4), np.float32) + 0.5).astype(np.uint8)
        result: dict[str, Any] = {
            "labels": now.rows[:, S.LABEL].astype(np.int16).take(picture.surface).reshape(resolution),
            "instances": now.rows[:, S.INSTANCE].astype(np.int32).take(picture.surface).reshape(resolution),
            "image": pixels.reshape(3, *resolution),
            "depth": (1 / picture.near).reshape(resolution),
            "picture": picture,
        }
        if picture.flow is not None and picture.trusted is not None:
            result["flow"] = picture.flow.reshape(2, *resolution)
            result["confidence"] = picture.trusted.astype(np.uint8).reshape(1, *resolution)
        return result

    def render_clip(
        self,
        start: int,
        frames: int,
        step: int,
        resolution: tuple[int, int],
        supersample: int = 1,
        view: View | None = None,
        back: int = 0,
    ) -> dict[str, Any]:
        """Frames start, start + step, ... as a sample (see `vid2vid.data`), with instances, flow and confidence.

        After them come the last ``back`` frames again, the last first; their flow is exact as well.
        """
        order = [*range(frames), *range(frames - 1, frames - 1 - back, -1)]
        frames = len(order)
        height, width = resolution
        sample: dict[str, Any] = {
            "labels": np.empty((frames, height, width), np.int16),
            "instances": np.empty((frames, height, width), np.int32),
            "images": np.empty((frames, 3, height, width), np.uint8),
            "flow": np.zeros((frames, 2, height, width), np.float16),
            "confidence": np.zeros((frames, 1, height, width), np.uint8),
            "name": f"{self.name}/{start:06d}",
        }
        previous = None
        for k, number in enumerate(order):
            one = self.render(start + number * step, resolution, supersample, view, previous)
            sample["labels"][k], sample["instances"][k], sample["images"][k] = (
                one[name] for name in ("labels", "instances", "image")
            )
            if previous is not None:
                # a point seen now that left the frame long ago may be far away: keep it finite in half precision
                sample["flow"][k] = np.clip(one["flow"], -30000, 30000)
                sample["confidence"][k] = one["confidence"]
            previous = one["picture"]
        return sample


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


def mirror(sample: dict[str, Any]) -> dict[str, Any]:
    """The clip seen in a mirror: columns reversed, horizontal flow negated."""
    mirrored = {
        key: np.ascontiguousarray(value[..., ::-1]) if isinstance(value, np.ndarray) else value
        for key, value in sample.items()
    }
    mirrored["flow"][:, 0] *= -1
    return mirrored


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
