"""A film of a person whose every motion is known: scikit-image's astronaut (NASA, public domain) under a moving crop.

python -m tests.helpers.astronaut astronaut.mp4        # fetches scikit-image's wheel from PyPI into a temporary folder
python -m tests.helpers.astronaut astronaut.mp4 512    # enlarged to 512x512
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import cv2
import numpy as np

from tests.helpers.made_films import write_film

FRAMES, SIZE, FPS = 100, 256, 25
_WHEEL = "scikit-image==0.26.0"
_PICTURE = "skimage/data/astronaut.png"


def picture() -> np.ndarray:
    """The astronaut, RGB uint8 (512, 512, 3).

    Raises:
        OSError, subprocess.CalledProcessError: the wheel cannot be had.
    """
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        subprocess.run([*words, "--dest", folder, _WHEEL], check=True, capture_output=True, text=True)
        with zipfile.ZipFile(next(Path(folder).glob("*.whl"))) as wheel:
            content = np.frombuffer(wheel.read(_PICTURE), np.uint8)
    return np.ascontiguousarray(cv2.imdecode(content, cv2.IMREAD_COLOR)[..., ::-1])


def offsets(frames: int = FRAMES) -> np.ndarray:
    """float64 (T, 2): x and y in the picture of each frame's upper left pixel, on a smooth path around the face."""
    turn = 2 * np.pi * np.arange(frames) / frames
    return np.stack([95 + 40 * np.sin(turn), 25 + 20 * np.sin(2 * turn)], axis=1)


def flow(frames: int = FRAMES) -> np.ndarray:
    """float64 (T - 1, 2): by how many pixels everything moves from a frame to the next."""
    return -np.diff(offsets(frames), axis=0)


def film(image: np.ndarray, frames: int = FRAMES, size: int = SIZE) -> np.ndarray:
    """uint8 (T, size, size, 3): the crops, bilinear between pixels."""
    return np.stack(
        [
            cv2.warpAffine(image, np.array([[1, 0, -x], [0, 1, -y]]), (size, size), flags=cv2.INTER_LINEAR)
            for x, y in offsets(frames)
        ]
    )


if __name__ == "__main__":
    made = film(picture())
    if len(sys.argv) > 2:
        wanted = (int(sys.argv[2]), int(sys.argv[2]))
        made = np.stack([cv2.resize(frame, wanted, interpolation=cv2.INTER_CUBIC) for frame in made])
    write_film(Path(sys.argv[1]), frames=made, fps=FPS, options={"crf": "12"})
