"""Times how sources are drawn (`data.sources`): frames a second of one core, as a worker of the data loader draws them.

Points lie on a circle, so that curves are about as long as those of a face that fills a crop as `data.crop` shows it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch

from trainer.benchmark.machine import machine
from vid2vid.data.augment import Crop
from vid2vid.data.face.source import FaceSource, Style
from vid2vid.data.landmarks.person import Person
from vid2vid.data.pose.source import PoseSource
from vid2vid.data.sources.frame_source import FrameSource
from vid2vid.data.sources.pictures import canny

SIZE = 512  # pixels of each side
_FRAMES = 20  # of a round


def points_on_circle(count: int, radius: float, size: int = SIZE) -> np.ndarray:
    """(count, 2) x, y around the middle of a square picture.

    Args:
        radius: in sides of the picture.
    """
    angles = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return size / 2 + radius * size * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def drawn_sources(size: int = SIZE) -> dict[str, Callable[[], object]]:
    """What is timed, by name: each call draws one frame."""
    crop = Crop((size, size), 0, 0, size, size, (size, size))
    face = points_on_circle(68, 0.2, size)
    image = torch.randint(0, 256, (3, size // 4, size // 4), generator=torch.Generator().manual_seed(0)).byte()
    image = image.repeat_interleave(4, 1).repeat_interleave(4, 2)

    def draws(source: FrameSource) -> Callable[[], object]:
        return lambda: source.draw(crop, image, None)

    return {
        "face, curves and distances": draws(FaceSource(face, Style())),
        "face, curves": draws(FaceSource(face, Style(distance=False))),
        "pose, with hands and face": draws(PoseSource([_person(size)], drop=0.0)),
        "edges": lambda: canny(image, 60, 160),
    }


def _person(size: int) -> Person:
    """Everybody's points on circles: limbs across most of the picture, hands and a face in its middle."""
    radii = {"body": (25, 0.4), "left_hand": (21, 0.05), "right_hand": (21, 0.05), "face": (68, 0.1)}
    sure = {part: np.ones((count, 1)) for part, (count, _) in radii.items()}
    points = {part: points_on_circle(count, radius, size) for part, (count, radius) in radii.items()}
    return Person(**{part: np.hstack([points[part], sure[part]]).astype(np.float32) for part in radii})


def suite(repeats: int = 5, command: str = "") -> Iterator[str]:
    """The lines of ``scripts/benchmark.py suite=drawing``, as they become known: medians of rounds in turn.

    Args:
        repeats: measured rounds, after one that is not.
        command: what was typed.
    """
    import cv2

    threads, torch_threads = cv2.getNumThreads(), torch.get_num_threads()
    try:
        cv2.setNumThreads(1)
        torch.set_num_threads(1)
        yield f"`{command}`: {machine(torch.device('cpu'), 'numpy', 'opencv-python-headless')}."
        sources = drawn_sources()
        seconds: dict[str, list[float]] = {name: [] for name in sources}
        for _ in range(repeats + 1):
            for name, draw in sources.items():
                begin = time.process_time()
                for _ in range(_FRAMES):
                    draw()
                seconds[name].append((time.process_time() - begin) / _FRAMES)
        yield f"| source, {SIZE}x{SIZE} | frames/s of a core |"
        yield "|---|---|"
        for name, taken in seconds.items():
            yield f"| {name} | {1 / statistics.median(taken[1:]):.0f} |"
    finally:
        cv2.setNumThreads(threads)
        torch.set_num_threads(torch_threads)
