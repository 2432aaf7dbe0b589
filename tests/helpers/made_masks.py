"""Small data sets of pictures and masks on disk, and a small trained segmentation of the street."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SMALL = [
    *("model=setr", "data=street_masks", "resolution=[16,32]", "model.variant=mu", "model.patch=8", "model.depth=2"),
    *("model.decoder_width=8", "model.pos_embed=sincos2d", "augment.scale=[1.0,1.0]", "data.street_samples=8"),
    *("data.street_val_samples=2", "data.workers=0", "trainer.max_samples=8", "trainer.micro_batch=null"),
    *("curriculum.stages.all.batch_size=4", "trainer.precision=fp32", "trainer.device=cpu", "trainer.threads=1"),
    *("logger.tensorboard=false", "logger.curves=false", "trainer.log_every=1"),
]


def write(path: Path, pixels: Any, palette: list[int] | None = None) -> Path:
    """A picture of numbers (H, W) or (H, W, 3), uint8; with a palette one of indices."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(pixels, np.uint8))
    if palette is not None:
        image.putpalette(palette)
    image.save(path)
    return path


def pair(root: Path, image: str, mask: str, values: Any = ((0, 1), (2, 255)), size: tuple[int, int] = (2, 2)) -> None:
    """A grey picture of a size and a mask of values, named below a root."""
    write(root / image, np.full((*size, 3), 90))
    write(root / mask, values)


def train_small(run_dir: Path, *words: str) -> Any:
    """The task of a run of two steps on the street, which leaves a checkpoint."""
    from train import SCHEMAS, build_task
    from trainer.cli import compose
    from trainer.loop import Trainer

    config = compose([*SMALL, *words], SCHEMAS)
    trainer = Trainer(config, lambda: build_task(config), run_dir)
    trainer.fit()
    return trainer.task
