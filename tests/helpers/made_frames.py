"""Pictures and label maps of small data sets, and how they are written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 40, 80


def picture(seed: int = 0, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """A smooth random picture, uint8 (height, width, 3)."""
    coarse = np.random.default_rng(seed).integers(0, 256, (height // 4 + 1, width // 4 + 1, 3), dtype=np.uint8)
    return np.array(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def save(path: Path, array: np.ndarray, **options: object) -> Path:
    """An array as a picture file, its folder made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path


def label_map(index: int) -> np.ndarray:
    """Ids 7 and 26, the border between them moving with the frame."""
    ids = np.full((HEIGHT, WIDTH), 7, np.uint8)
    ids[:, 10 + index :] = 26
    return ids
