"""What a user would bring, for who has none at hand while reading a guide: a film, and a folder of pictures.

python -m tests.helpers.own_data film walk.mp4       # 12 s of the built-in street, 128x256, as a camera would have it
python -m tests.helpers.own_data pictures photos     # 10 classes of 60 pictures of 64x64, a folder each
"""

from __future__ import annotations

import sys
from pathlib import Path

from torchvision.io import write_png

from tests.helpers.made_films import write_film
from trainer.data.street.scene import FPS
from trainer.data.street.world import StreetWorld
from vit.data.shapes.source import ShapesSource

SECONDS, SIZE = 12, (128, 256)
PICTURES, SIDE = 600, 64


def film(path: Path, frames: int = SECONDS * FPS, size: tuple[int, int] = SIZE) -> Path:
    """A scene of the street, encoded as a camera would.

    Args:
        path: what is written, such as ``walk.mp4``.
        size: of a frame, (height, width) [pixels].
    """
    world = StreetWorld(seed=0, clip=1, split="val")
    pictures = (world.render(k, size)["image"].transpose(1, 2, 0) for k in range(frames))
    return write_film(path, frames=pictures, fps=FPS, options={"crf": "12"})


def pictures(folder: Path, count: int = PICTURES, side: int = SIDE) -> Path:
    """PNGs of the built-in shapes in folders of their classes: ``FOLDER/circle/000.png``."""
    source = ShapesSource("train", (side, side), count)
    for index in range(count):
        pixels, label, _ = source.read(index)
        path = folder / source.classes[label] / f"{index:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_png(pixels, str(path))
    return folder


if __name__ == "__main__":
    what, where = sys.argv[1:]
    {"film": film, "pictures": pictures}[what](Path(where))
