"""Pictures on disk for the tests of ViT data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from vit.config import DataKind, VitConfig
from vit.data import build_dataset


def write_picture(path: Path, colour: tuple[int, int, int] = (200, 100, 50), size: tuple[int, int] = (12, 16)) -> Path:
    """One colour, (height, width), in the format of the path's extension."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.empty((*size, 3), np.uint8)
    pixels[:] = colour
    Image.fromarray(pixels).save(path)
    return path


def write_noise(
    path: Path, seed: int = 0, size: tuple[int, int] = (20, 30), kind: type = np.uint8, exif: int = 1
) -> Path:
    """Noise, (height, width), 8 bits RGB or 16 bits grey, with an orientation of EXIF's."""
    generator = np.random.default_rng(seed)
    deep = kind is np.uint16
    values = generator.integers(0, 65536 if deep else 256, size if deep else (*size, 3)).astype(kind)
    tags = Image.Exif()
    tags[0x0112] = exif
    Image.fromarray(values).save(path, exif=tags)
    return path


def write_tree(root: Path, folders: dict[str, int]) -> Path:
    """``{"train/cat": 3}``: folders with so many PNGs each, all of different colours; returns ``root``."""
    for place, (folder, count) in enumerate(folders.items()):
        (root / folder).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            write_picture(root / folder / f"{number}.png", (20 * place % 256, 10 * number % 256, 7))
    return root


def folder_config(root: Path | None, kind: DataKind = DataKind.imagefolder) -> VitConfig:
    """A run at 16x16 on ``root``; its cache lies beside it."""
    config = VitConfig()
    config.resolution = [16, 16]
    config.data.kind = kind
    if root is not None:
        config.data.root = str(root)
        config.data.cache_dir = str(root.parent / "cache")
    return config


def samples(config: VitConfig, split: str) -> list[dict]:
    dataset = build_dataset(config, split, (16, 16))
    return [dataset.sample(index, np.random.default_rng(0)) for index in range(len(dataset))]
