"""From a stream of label maps to a video on disk, one frame in memory at a time."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainer.errors import ConfigError, DataError
from trainer.records.media import label_panel
from trainer.records.video_writer import PictureFolder, VideoWriter, check_out, video_output
from vid2vid.config import DataConfig, FirstFrame, Vid2VidConfig
from vid2vid.data import Sequence, open_source
from vid2vid.data.labels.trained_colours import check_colours
from vid2vid.data.sources.kinds import wants_labels
from vid2vid.generate.edit.edits import Edits
from vid2vid.generate.panels import condition_columns
from vid2vid.generate.rollout import Rollout
from vid2vid.styles.assigned import VideoStyles
from vid2vid.trained import LoadedRun

_log = logging.getLogger(__name__)

FASTEST = 1000  # frames per second of a video
Progress = Callable[[int, int | None], None]  # frames done, frames in all if known


@dataclass(frozen=True)
class Generated:
    """What was written.

    Attributes:
        video: the file, or the folder of PNGs.
        frames: its length.
        size: (height, width) of its pictures, in pixels.
        fps: its frame rate.
        seconds: time it took, writing included.
        pictures: the folder of PNG frames, if they were asked for.
    """

    video: Path
    frames: int
    size: tuple[int, int]
    fps: float
    seconds: float
    pictures: Path | None


def open_clip(
    source: str,
    config: Vid2VidConfig,
    clip: int = 0,
    frames: int | None = None,
    learnt: Iterable[Mapping[str, Any] | None] = (),
) -> Sequence:
    """Sequence number ``clip`` of a source; the log says when there are others.

    Args:
        source, frames: see `vid2vid.data.open_source`.
        config: of the run, at the resolution to work at.
        learnt: what colours meant to the runs that will see the labels (`LoadedRun.colours`).

    Raises:
        DataError: nothing usable there, nothing of the kind that the model takes, no such number, or label maps whose
            colours have other ids.
    """
    if clip < 0:
        raise ConfigError(f"clip={clip}: sequences are numbered from 0")
    if wants_labels(config.model) and Path(source).is_file():
        raise DataError(
            f"source={source} is a file, but this run was trained on label maps "
            f"(model.source={config.model.source.value}): give a folder of them, or street"
        )
    config = deepcopy(config)
    config.data.val_clips = max(config.data.val_clips, clip + 1)  # street has as many scenes as one asks for
    found = list(islice(open_source(source, config, frames), clip + 2))
    if len(found) <= clip:
        raise DataError(f"clip={clip}: source={source} has {len(found)} sequence(s), numbered from 0")
    if len(found) > clip + 1 or clip:
        _log.info("sequence %d of the source: %s (clip=N chooses another)", clip, found[clip].name)
    for colours in learnt:
        check_colours(colours, [getattr(found[clip], "sequence", None)])
    return found[clip]


def read_first_image(path: Path, resolution: tuple[int, int], data: DataConfig | None = None) -> Tensor:
    """A picture for ``first_frame=image``, cropped and resized as frames are: (3, H, W) uint8.

    Args:
        data: of the run: what is black and white in a picture of more than 8 bits; None: all that its bits can hold.
    Raises:
        DataError: it cannot be read.
    """
    from trainer.data.pictures.decode import decode
    from trainer.data.pictures.files import read_bytes
    from vid2vid.data.augment import centre_crop
    from vid2vid.data.ranges.settings import as_span

    span = None if data is None else as_span(data.range)
    image = decode(read_bytes(path), path, span=span)
    return centre_crop((image.shape[-2], image.shape[-1]), resolution).image(image)


@dataclass(frozen=True)
class Step:
    """One generated frame.

    Attributes:
        frame: what it was generated from, edited.
        picture: (H, W, 3) uint8, on the host.
        extras: what else the generator made, on its device (`Rollout.step`).
        begins: it is the first of the sequence, or of another scene.
    """

    frame: Mapping[str, Any]
    picture: Tensor
    extras: Mapping[str, Tensor]
    begins: bool


def generate_frames(
    run: LoadedRun,
    sequence: Sequence,
    frames: int | None = None,
    first_frame: FirstFrame | None = None,
    image: Tensor | None = None,
    real_frames: int | None = None,
    edits: Edits | None = None,
    styles: VideoStyles | None = None,
) -> Iterator[Step]:
    """Generate a sequence frame by frame, in constant memory; the arguments are those of `generate_video`.

    After a cut in the source the next frame is generated like a first one.

    Raises:
        ConfigError, DataError: as `generate_video`.
    """
    if frames is not None and frames < 1:
        raise ConfigError(f"frames={frames}: must be at least 1")
    chosen = first_frame if first_frame is not None else run.config.model.first_frame
    rollout = Rollout(run.generator, run.encoder, run.compute, chosen, image, run.scales, styles, real_frames)
    check_colours(run.colours, [getattr(sequence, "sequence", None)])
    for number, frame in enumerate(islice(iter(sequence), frames)):
        begins = number == 0 or bool(frame.get("begins"))
        if number and begins:
            rollout.reset()
        frame = edits(frame, getattr(sequence, "crop", None)) if edits is not None else frame
        picture, extras = rollout.step(frame)
        yield Step(frame, picture.permute(1, 2, 0).cpu(), extras, begins)


def generate_video(
    run: LoadedRun,
    sequence: Sequence,
    out: Path,
    *,
    frames: int | None = None,
    first_frame: FirstFrame | None = None,
    image: Tensor | None = None,
    real_frames: int | None = None,
    edits: Edits | None = None,
    styles: VideoStyles | None = None,
    compare: bool = False,
    png: bool = False,
    zoom: int = 1,
    fps: float | None = None,
    progress: Progress = lambda done, total: None,
) -> Generated:
    """Generate a sequence into a video. Nothing half written is found under a final name, whatever happens.

    Where something fails after some frames, these stay, playable, as `NAME.partial.SUFFIX` beside `out`; the log says
    where. After a cut in the source the next frame is generated like a first one.

    Args:
        run: the generator.
        sequence: frames of labels, at the run's resolution.
        out: the video; its suffix says which kind (`trainer.records.video_writer`), none means a folder of PNGs.
        frames: at most so many; None: all that the sequence has.
        first_frame: see `Rollout`; None: the run's own ``model.first_frame``.
        image: (3, H, W) uint8 for ``first_frame=image``.
        real_frames: see `Rollout`.
        edits: change classes and objects before anything sees them.
        styles: vectors of the instances (`vid2vid.generate.styling`), for a run with a feature encoder.
        compare: the source, the real frame and the generated one side by side, with captions; the real one where the
            source has any, and "no picture" for frames that lack theirs. A frame's ``captions`` stand above condition
            and generated frame in place of the usual ones.
        zoom: pixels of the video are this many times enlarged, for small frames on large screens.
        png: also write each generated frame, losslessly, into the folder ``<out without suffix>_frames``.
        fps: frame rate; None: the sequence's own.
        progress: called after each frame.

    Raises:
        DataError: the sequence is empty or lacks what ``first_frame=real`` needs; the place cannot be written.
        ConfigError: options that do not go together.
    """
    if frames is not None and frames < 1:
        raise ConfigError(f"frames={frames}: must be at least 1")
    if not 1 <= zoom <= 16:
        raise ConfigError(f"zoom={zoom}: must be 1..16")
    rate = sequence.fps if fps is None else fps
    if not 0 < rate <= FASTEST:
        raise ConfigError(f"fps={rate}: must be above 0 and at most {FASTEST}")
    total = length_of(sequence, frames)
    out, begin, done, size, scenes = Path(out), time.perf_counter(), 0, (0, 0), 0
    check_out(out, rate)
    steps = generate_frames(run, sequence, frames, first_frame, image, real_frames, edits, styles)
    with ExitStack() as stack:
        writer: VideoWriter | PictureFolder | None = None
        pictures = stack.enter_context(PictureFolder(frames_folder(out), keep=True)) if png else None
        with_real = getattr(sequence, "has_pictures", None)
        for step in steps:
            scenes += step.begins
            with_real = step.frame.get("image") is not None if with_real is None else with_real
            shown = (
                _side_by_side(step.frame, step.picture, run.config, zoom, with_real)
                if compare
                else enlarged(step.picture, zoom)
            )
            if writer is None:
                _tell_instances(run, step.frame)
                size = (shown.shape[0], shown.shape[1])
                writer = stack.enter_context(video_output(out, rate, size, keep=True))
            writer.write(shown)
            if pictures is not None:
                pictures.write(step.picture)
            done += 1
            progress(done, total)
        if writer is None:
            raise DataError(f"the sequence {sequence.name} has no frames, so there is nothing to generate from")
    if frames is not None and done < frames:
        _log.warning("the sequence ended after %d of the %d frames asked for", done, frames)
    for line in edits.unmet() if edits is not None else ():
        _log.warning("%s", line)
    if scenes > 1:
        _log.info("the source has %d scenes: each was begun anew (data.cut_threshold=null: as one)", scenes)
    made = pictures.path if pictures is not None else None
    return Generated(out, done, size, rate, time.perf_counter() - begin, made)


def frames_folder(out: Path) -> Path:
    """Where the frames of a video go as pictures: beside it."""
    return out.with_name(out.stem + "_frames")


def _tell_instances(run: LoadedRun, frame: Mapping[str, Any]) -> None:
    """Say where a run has learnt with instance edges and its source has none."""
    learnt = run.instances if run.instances is not None else bool(run.config.data.instances_dir)
    if learnt and run.encoder.edges and frame.get("instances") is None:
        _log.warning(
            "the source has no instance maps, with which this run was trained: edges between objects of one class are "
            "missing, those between classes are drawn"
        )


def enlarged(image: Tensor, zoom: int) -> Tensor:
    """(H, W, 3) uint8 to (zoom H, zoom W, 3), pixels repeated."""
    return image.repeat_interleave(zoom, 0).repeat_interleave(zoom, 1) if zoom > 1 else image


def _side_by_side(
    frame: Mapping[str, Any], generated: Tensor, config: Vid2VidConfig, zoom: int, with_real: bool
) -> Tensor:
    """(zoom H + caption, n zoom W, 3) uint8 on the host; n depends on ``with_real`` alone."""
    condition = {name: torch.as_tensor(frame[name]) for name in ("labels", "source") if name in frame}
    columns = condition_columns(condition, config)
    if with_real and frame.get("image") is not None:
        columns["real"] = torch.as_tensor(frame["image"]).permute(1, 2, 0)
    elif with_real:
        columns["no picture"] = torch.full_like(generated, 24)
    columns["generated"] = generated
    text = list(columns)
    text[0], text[-1] = frame.get("captions", (text[0], text[-1]))
    return label_panel([enlarged(column, zoom) for column in columns.values()], text)


def length_of(sequence: Sequence, frames: int | None) -> int | None:
    """How many frames will be generated of at most ``frames``; None: neither they nor the sequence tell."""
    try:
        length = len(sequence)
    except TypeError:
        return frames
    return length if frames is None else min(frames, length)
