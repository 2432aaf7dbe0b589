"""The street world: a procedural street seen from a driving car, with labels, instances, exact flow and occlusion.

Nothing is read from disk: frame k of clip c of a split is a function of (seed, split, c, k), at any resolution.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from trainer.data.street import objects as S
from trainer.data.street.camera import View, frame_at
from trainer.data.street.render import Picture, draw
from trainer.data.street.scene import FPS, SPLITS, StreetScene


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
        """Frames start, start + step, ... as arrays (T, ...): what `render` gives, and a name.

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


def mirror(sample: dict[str, Any]) -> dict[str, Any]:
    """The clip seen in a mirror: columns reversed, horizontal flow negated."""
    mirrored = {
        key: np.ascontiguousarray(value[..., ::-1]) if isinstance(value, np.ndarray) else value
        for key, value in sample.items()
    }
    mirrored["flow"][:, 0] *= -1
    return mirrored
