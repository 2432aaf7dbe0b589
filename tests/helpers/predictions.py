"""What tests of predictions share: pictures to look at, the script in this process, and its table read back."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from PIL import Image

from vit.data.sources.unlabelled import list_pictures
from vit.predict.predictor import Predictor, predict

CPU = ("trainer.device=cpu", "trainer.precision=fp32")


def pictures(folder: Path, count: int = 6, size: tuple[int, int] = (60, 40)) -> list[Path]:
    """Oblong pictures with structure; (width, height)."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    paths = []
    for index in range(count):
        coarse = rng.integers(0, 256, (5, 8, 3), dtype=np.uint8)
        paths.append(folder / f"{index}.png")
        Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(paths[-1])
    return paths


def read(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def values(predictor: Predictor, folder: Path, **settings) -> np.ndarray:
    return np.concatenate([a.values for a in predict(predictor, list_pictures(folder), workers=0, **settings)])
