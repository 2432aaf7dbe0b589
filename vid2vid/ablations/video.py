"""All variants on the same held-out street, side by side under captions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from trainer.cli import load_run
from trainer.config.schema import Schemas
from trainer.data.labels.palette import colorize
from trainer.records.media import label_panel, write_png, write_video
from vid2vid.data import open_source
from vid2vid.generate.panels import contact_sheet
from vid2vid.generate.rollout import Rollout
from vid2vid.trained import load_generator

COLUMNS = 4


def write_comparison(
    runs: Mapping[str, Path],
    schemas: Schemas,
    folder: Path,
    frames: int,
    zoom: int,
    progress: Callable[[int], object] = lambda done: None,
) -> Path:
    """``ablations.mp4`` and ``ablations.png``: labels, the real video, and what each run makes of them.

    Args:
        runs: caption -> folder of a run.
        frames: length.
        zoom: enlargement.
        progress: is given the number of frames generated so far.

    Returns:
        The video's path.
    """
    cells: dict[str, Tensor] = {}
    fps, done = 16.0, 0
    for title, path in runs.items():
        run = load_generator(load_run(path, schemas), path)
        sequence = next(iter(open_source("street", run.config, frames)))
        fps = sequence.fps
        rollout = Rollout(run.generator, run.encoder, run.compute, run.config.model.first_frame, None, run.scales)
        made, seen = [], []
        for frame in sequence:
            made.append(rollout.step(frame)[0].permute(1, 2, 0).cpu())
            seen.append(frame)
            done += 1
            progress(done)
        if not cells:
            cells["labels"] = torch.from_numpy(colorize(np.stack([frame["labels"] for frame in seen]))).movedim(1, -1)
            cells["real"] = torch.stack([torch.as_tensor(frame["image"]).permute(1, 2, 0) for frame in seen])
        cells[title] = torch.stack(made)
    video = _grid({title: _enlarged(cell, zoom) for title, cell in cells.items()})
    target = folder / "ablations.mp4"
    write_video(target, video, fps)
    write_png(target.with_suffix(".png"), contact_sheet(video, 4))
    return target


def _enlarged(frames: Tensor, zoom: int) -> Tensor:
    return frames.repeat_interleave(zoom, 1).repeat_interleave(zoom, 2)


def _grid(cells: Mapping[str, Tensor]) -> Tensor:
    """Videos (T, H, W, 3) in rows of `COLUMNS`, the last one filled with black."""
    named = list(cells.items())
    named += [("", torch.zeros_like(named[0][1]))] * (-len(named) % COLUMNS)
    starts = range(0, len(named), COLUMNS)
    lines = [[*zip(*named[start : start + COLUMNS], strict=True)] for start in starts]
    return torch.cat([label_panel(list(pictures), list(titles)) for titles, pictures in lines], dim=1)
