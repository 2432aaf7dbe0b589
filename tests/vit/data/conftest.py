"""Pictures on disk for the tests of ViT data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vit.config import DataKind, VitConfig


@pytest.fixture
def write_picture() -> Callable[..., Path]:
    """``write_picture(path, colour, size=(h, w))``: one colour, with the format of the path's extension."""

    def write(path: Path, colour: tuple[int, int, int] = (200, 100, 50), size: tuple[int, int] = (12, 16)) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.empty((*size, 3), np.uint8)
        pixels[:] = colour
        Image.fromarray(pixels).save(path)
        return path

    return write


@pytest.fixture
def tree(tmp_path: Path, write_picture: Callable[..., Path]) -> Callable[..., Path]:
    """``tree({"train/cat": 3, "val/cat": 1})``: folders with so many pictures each, below a root that is returned."""

    def make(folders: dict[str, int], root: str = "root", extension: str = "png") -> Path:
        for place, (folder, count) in enumerate(folders.items()):
            (tmp_path / root / folder).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                write_picture(tmp_path / root / folder / f"{number}.{extension}", (20 * place, 10 * number, 7))
        return tmp_path / root

    return make


@pytest.fixture
def config(tmp_path: Path) -> Iterator[VitConfig]:
    """An image folder at 16x16 whose root is yet to be set; scans of the disk start anew."""
    from vit.data.sources_files import forget_scans

    made = VitConfig()
    made.resolution = [16, 16]
    made.data.kind = DataKind.imagefolder
    made.data.cache_dir = str(tmp_path / "cache")
    forget_scans()
    yield made
    forget_scans()
