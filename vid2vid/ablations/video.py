"""All variants on the same held-out clip, side by side under captions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from trainer.cli import load_run
from trainer.config.schema import Schemas
from trainer.records.media import label_panel, write_png, write_video
from vid2vid.config import DataKind
from vid2vid.encoding import float_to_images
from vid2vid.evaluate.measured_clips import measured_clips
from vid2vid.evaluate.styling import styled
from vid2vid.generate.clip import generate_segments
from vid2vid.generate.panels import condition_columns, contact_sheet
from vid2vid.trained import LoadedRun, load_generator

COLUMNS = 4
FPS = 16.0  # of the street


def write_comparison(
    runs: Mapping[str, Path],
    schemas: Schemas,
    folder: Path,
    frames: int,
    zoom: int,
    sheet: Sequence[int] = (),
    progress: Callable[[int], object] = lambda done: None,
) -> Path:
    """``ablations.mp4`` and ``ablations.png``: the condition, the real video, and what each run makes of them.

    Args:
        runs: caption -> folder of a run.
        frames: length; of a film it is data.val_frames.
        zoom: enlargement.
        sheet: frames of the contact sheet; none: four, evenly spaced.
        progress: is given the number of runs so far.

    Returns:
        The video's path.
    """
    cells: dict[str, Tensor] = {}
    for done, (title, path) in enumerate(runs.items(), 1):
        run = load_generator(load_run(path, schemas), path)
        clip = _clip(run, frames)
        if not cells:
            cells = condition_columns({k: v[0] for k, v in clip.items() if k in ("labels", "source")}, run.config)
            cells = {_several(name): cell for name, cell in cells.items()}
            cells["real"] = clip["images"][0].movedim(1, -1)
        cells[title] = _generated(run, clip)
        progress(done)
    video = _grid({title: _enlarged(cell, zoom) for title, cell in cells.items()})
    target = folder / "ablations.mp4"
    write_video(target, video, FPS)
    chosen = [number for number in sheet if number < len(video)]
    write_png(target.with_suffix(".png"), torch.cat(list(video[chosen])) if chosen else contact_sheet(video, 4))
    return target


def _clip(run: LoadedRun, frames: int) -> dict[str, Tensor]:
    """The first held-out clip, collated: of the street another than those that are measured, of a film one of them."""
    street = run.config.data.kind is DataKind.street
    clips = measured_clips(run, "test" if street else "val", frames=frames if street else None, clips=1)
    return {name: value for name, value in next(iter(clips.loader)).items() if isinstance(value, Tensor)}


def _generated(run: LoadedRun, clip: Mapping[str, Tensor]) -> Tensor:
    """(T, H, W, 3) uint8, generated freely; with styles, by the vectors of the real frames."""
    batch = {name: value.to(run.compute.device) for name, value in clip.items()}
    first, styling = run.config.model.first_frame, styled(run).styling
    styles = None if styling is None else styling(batch)
    made = generate_segments(
        run.generator, run.encoder, batch, amp=run.compute.amp, first_frame=first, scales=run.scales, styles=styles
    )
    return torch.cat([float_to_images(piece["frames"][0]).movedim(1, -1).cpu() for piece in made])


def _several(name: str) -> str:
    return "labels" if name == "label" else name


def _enlarged(frames: Tensor, zoom: int) -> Tensor:
    return frames.repeat_interleave(zoom, 1).repeat_interleave(zoom, 2)


def _grid(cells: Mapping[str, Tensor]) -> Tensor:
    """Videos (T, H, W, 3) in rows of `COLUMNS`, the last one filled with black."""
    named = list(cells.items())
    named += [("", torch.zeros_like(named[0][1]))] * (-len(named) % COLUMNS)
    starts = range(0, len(named), COLUMNS)
    lines = [[*zip(*named[start : start + COLUMNS], strict=True)] for start in starts]
    return torch.cat([label_panel(list(pictures), list(titles)) for titles, pictures in lines], dim=1)
