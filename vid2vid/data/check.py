"""Reads a data set once, in parallel: clips, lengths, sizes, label histogram, files that cannot be used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import torch

from trainer.errors import ConfigError, DataError
from vid2vid.config import DataKind, OnBadFile, Vid2VidConfig
from vid2vid.data.clips import shown
from vid2vid.data.folders import FolderSequence, sequences_of_split
from vid2vid.data.frames import FrameSequence, RawFrame
from vid2vid.data.palette import CLASSES
from vid2vid.data.reading import LabelRange
from vid2vid.data.reference import ReferenceFlow
from vid2vid.data.video import VideoSequence, videos_of_split

_CHUNK = 16  # frames read by one job
_FILM_CHUNK = 512  # of a video, where a job begins at the key frame before it
_LISTED = 20  # bad files named in the report
_BINS = 1 << 16

Progress = Callable[[Iterable[Any], int], Iterable[Any]]


@dataclass
class Report:
    """What was found.

    Attributes:
        lengths: (split, sequence name, frames, size) of each sequence.
        sizes: (h, w) -> frames.
        pixels: label id -> pixels.
        frames_with: label id -> frames that have it.
        unknown: label id that may not occur -> first file that has it.
        unknown_frames: frames with such an id.
        bad: messages of files that cannot be read or do not fit.
        frames: read.
        advice: what to look at.
        label_range: ids that may occur; None where pictures are the source.
    """

    lengths: list[tuple[str, str, int, tuple[int, int] | None]] = field(default_factory=list)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    pixels: Counter[int] = field(default_factory=Counter)
    frames_with: Counter[int] = field(default_factory=Counter)
    unknown: dict[int, str] = field(default_factory=dict)
    unknown_frames: int = 0
    bad: list[str] = field(default_factory=list)
    frames: int = 0
    advice: list[str] = field(default_factory=list)
    label_range: LabelRange | None = None

    @property
    def usable(self) -> bool:
        """No file is bad and no id out of range."""
        return not self.bad and not self.unknown


@dataclass
class _Chunk:
    """What one job found in some frames of one sequence."""

    number: int
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    pixels: np.ndarray | None = None
    frames_with: Counter[int] = field(default_factory=Counter)
    unknown: dict[int, str] = field(default_factory=dict)
    unknown_frames: int = 0
    bad: list[str] = field(default_factory=list)
    frames: int = 0


def find_sequences(config: Vid2VidConfig) -> list[tuple[str, FrameSequence]]:
    """(split, sequence) of the data set as training and validation would see it; shared sequences once, as train.

    Raises:
        ConfigError: the street world, which has no files, or no data.root.
        DataError: nothing there.
    """
    if config.data.kind is DataKind.street:
        raise ConfigError(
            "data=street is rendered, there are no files to check; "
            "name your data: data=folders data.root=PATH (or data=cityscapes, data=video)"
        )
    frames = longest_clip(config)
    of_split = videos_of_split if config.data.kind is DataKind.video else sequences_of_split
    train, val = of_split(config, "train", frames), of_split(config, "val", frames)
    spans = {_span(s) for s in train}
    return [("train", s) for s in train] + [("val", s) for s in val if _span(s) not in spans]


def longest_clip(config: Vid2VidConfig) -> int:
    """Frames of the longest training clip of the curriculum."""
    return max((stage.frames for stage in config.curriculum.stages.values()), default=1)


def check_data(
    config: Vid2VidConfig,
    sequences: list[tuple[str, FrameSequence]],
    progress: Progress = lambda jobs, total: jobs,
) -> Report:
    """Decode every frame once.

    Args:
        config: `data.workers` threads read (at least one).
        sequences: of `find_sequences`.
        progress: wraps the iterable of counts of frames done; gets the total too.
    """
    report = Report()
    first = next((s for _, s in sequences if isinstance(s, FolderSequence)), None)
    if first is not None and not first.wants_source:
        report.label_range = first.label_range
    for _, sequence in sequences:
        if isinstance(sequence, FolderSequence):
            sequence.label_range = None  # all ids are collected in place of stopping at the first
    jobs = [
        (number, start, min(start + size, len(sequence)))
        for number, (_, sequence) in enumerate(sequences)
        for size in [_FILM_CHUNK if isinstance(sequence, VideoSequence) else _CHUNK]
        for start in range(0, len(sequence), size)
    ]
    pixels = np.zeros(_BINS, np.int64)
    sizes: list[Counter[tuple[int, int]]] = [Counter() for _ in sequences]

    def read(job: tuple[int, int, int]) -> _Chunk:
        return _read(sequences[job[0]][1], *job, report.label_range)

    def done(chunks: Iterable[_Chunk]) -> Iterator[int]:
        for chunk in chunks:
            report.sizes += chunk.sizes
            sizes[chunk.number] += chunk.sizes
            if chunk.pixels is not None:
                np.add(pixels, chunk.pixels, out=pixels)
            report.frames_with += chunk.frames_with
            report.unknown = {**chunk.unknown, **report.unknown}
            report.unknown_frames += chunk.unknown_frames
            report.bad += chunk.bad
            report.frames += chunk.frames
            yield chunk.frames

    with ThreadPoolExecutor(max(1, config.data.workers)) as pool:
        for _ in progress(done(_in_order(pool, read, jobs)), sum(len(s) for _, s in sequences)):
            pass
    report.pixels = Counter({int(i): int(pixels[i]) for i in pixels.nonzero()[0]})
    for (split, sequence), found in zip(sequences, sizes, strict=True):
        size = found.most_common(1)[0][0] if found else None
        report.lengths.append((split, sequence.name, len(sequence), size))
        if len(found) > 1:
            report.bad.append(f"{sequence.name}: frames of different sizes (HxW): {_sizes(found)}")
    report.advice = _advice(config, sequences, report)
    return report


def _in_order(
    pool: ThreadPoolExecutor, read: Callable[[tuple[int, int, int]], _Chunk], jobs: list[tuple[int, int, int]]
) -> Iterator[_Chunk]:
    """Results in the order of the jobs, few of them waiting: memory does not grow with the data."""
    remaining = iter(jobs)
    waiting = [pool.submit(read, job) for job in islice(remaining, 64)]
    try:
        while waiting:
            yield waiting.pop(0).result()
            waiting += [pool.submit(read, job) for job in islice(remaining, 1)]
    finally:
        for future in waiting:
            future.cancel()


def _read(sequence: FrameSequence, number: int, start: int, stop: int, allowed: LabelRange | None) -> _Chunk:
    chunk = _Chunk(number, frames=stop - start)
    # A folder's frames are independent; in a video one damaged frame spoils those after it.
    runs = (
        [range(start, stop)] if isinstance(sequence, VideoSequence) else [range(i, i + 1) for i in range(start, stop)]
    )
    for run in runs:
        try:
            for raw in sequence.read(run):
                _count(chunk, raw, allowed)
        except DataError as error:
            chunk.bad.append(str(error))
    return chunk


def _count(chunk: _Chunk, raw: RawFrame, allowed: LabelRange | None) -> None:
    chunk.sizes[raw.size] += 1
    if raw.labels is None or allowed is None:
        return
    counts = np.bincount(raw.labels.numpy().ravel().clip(0, _BINS - 1), minlength=_BINS)
    chunk.pixels = counts if chunk.pixels is None else chunk.pixels + counts
    chunk.frames_with.update(int(i) for i in counts.nonzero()[0])
    unknown = allowed.unknown(raw.labels)
    chunk.unknown_frames += bool(unknown)
    for label in unknown:
        chunk.unknown.setdefault(label, raw.label_name or raw.name)


def _advice(config: Vid2VidConfig, sequences: list[tuple[str, FrameSequence]], report: Report) -> list[str]:
    advice = []
    labels = set(report.pixels) - {config.data.ignore_label}
    if report.label_range is not None and config.model.num_labels >= 34 and labels and max(labels) <= 18:
        advice.append(
            "all ids lie in 0..18: these may be Cityscapes trainIds, while model.num_labels="
            f"{config.model.num_labels} means labelIds; set model.num_labels=19 if so"
        )
    if report.unknown and report.label_range is not None:
        advice.append(report.label_range.remedy(sorted(report.unknown)))
    if report.bad:
        advice.append("data.on_bad_file=skip trains without the files that cannot be decoded")
    for split, needed in (("train", longest_clip(config)), ("val", 2)):
        mine = [s for name, s in sequences if name == split]
        short = [f"{s.name} ({len(s)})" for s in mine if len(s) < needed]
        if short and len(short) == len(mine):
            advice.append(
                f"{split}: no sequence has the {needed} frames of a clip ({shown(short)}): training would stop; "
                "choose fewer frames in the curriculum, e.g. curriculum=single curriculum.stages.all.frames=4"
            )
        elif short:
            advice.append(f"{split}: shorter than the {needed} frames of a clip, will be left out: {shown(short)}")
    frames = sum(len(s) for name, s in sequences if name == "train")
    if frames < 1000:
        advice.append(f"{frames} training frames are few: expect a model of these clips, not of their kind")
    return advice


def format_report(report: Report) -> str:
    """The report as text."""
    lines = [f"{'split':<6} {'sequences':>9} {'frames':>8} {'shortest':>8} {'longest':>8}"]
    for split in ("train", "val"):
        lengths = [frames for name, _, frames, _ in report.lengths if name == split]
        if lengths:
            lines.append(f"{split:<6} {len(lengths):>9} {sum(lengths):>8} {min(lengths):>8} {max(lengths):>8}")
        else:
            lines.append(f"{split:<6} shares the training sequences")
    lines.append(f"sizes (HxW): {_sizes(report.sizes) or 'none'}")
    if report.pixels:
        total = sum(report.pixels.values())
        lines += ["", f"{'id':>5}  {'class':<22} {'pixels':>8}  frames"]
        for label, count in sorted(report.pixels.items()):
            frames = report.frames_with[label]
            lines.append(f"{label:>5}  {_class_name(label, report):<22} {count / total:>8.3%}  {frames}")
    if report.unknown:
        lines.append(f"\n{report.unknown_frames} frames have ids out of range:")
        lines += [f"  {label}, first in {path}" for label, path in sorted(report.unknown.items())[:_LISTED]]
    if report.bad:
        lines.append(f"\n{len(report.bad)} files cannot be used:")
        lines += [f"  {message}" for message in report.bad[:_LISTED]]
        if len(report.bad) > _LISTED:
            lines.append(f"  and {len(report.bad) - _LISTED} more")
    lines += [f"\nnote: {line}" for line in report.advice]
    if report.usable:
        lines.append(f"\nall {report.frames} frames can be used")
    return "\n".join(lines)


def _class_name(label: int, report: Report) -> str:
    if report.label_range is not None and label == report.label_range.ignore:
        return "(ignored)"
    if label in report.unknown:
        return "OUT OF RANGE"
    cityscapes = report.label_range is not None and report.label_range.num_labels in (34, 35)
    return CLASSES[label][0] if cityscapes and label in CLASSES else ""


def _sizes(sizes: Counter[tuple[int, int]]) -> str:
    return ", ".join(f"{h}x{w} ({count})" for (h, w), count in sizes.most_common(6))


def fill_flow_cache(
    sequences: list[tuple[str, FrameSequence]],
    config: Vid2VidConfig,
    resolutions: list[tuple[int, int]],
    device: torch.device | str,
    progress: Progress = lambda jobs, total: jobs,
) -> int:
    """Compute the reference flow of all neighbouring frames into `data.flow_cache`: RAFT on a GPU, say.

    Args:
        sequences: of `find_sequences`.
        config: `data.flow`, `data.flow_weights`, `data.flow_cache`.
        resolutions: (H, W) of every stage.
        device: where RAFT runs.
        progress: as in `check_data`.
    Returns:
        How many flows there are.
    Raises:
        ConfigError: a method that is not estimated, or no cache.
    """
    flows = [ReferenceFlow(config.data, resolution, device) for resolution in resolutions]
    if not all(flow.is_cached for flow in flows):
        raise ConfigError(
            f"flow=true needs an estimator and a cache, but data.flow={config.data.flow.value} and "
            f"data.flow_cache={config.data.flow_cache}: set data.flow=dis, farneback or raft and data.flow_cache"
        )
    skip = config.data.on_bad_file is OnBadFile["skip"]

    def pairs() -> Iterator[int]:
        for _, sequence in sequences:
            for flow in flows:
                for _ in flow.fill(sequence.read(range(len(sequence)), skip)):
                    yield 1

    return sum(progress(pairs(), sum(len(s) - 1 for _, s in sequences) * len(flows)))


def _span(sequence: FrameSequence) -> tuple[str, str, str, int]:
    return sequence.name, sequence.frame_name(0), sequence.frame_name(len(sequence) - 1), len(sequence)


def stage_resolutions(config: Vid2VidConfig) -> list[tuple[int, int]]:
    """(H, W) of every stage of the curriculum, each once."""
    sizes = [
        tuple(stage.resolution or (side // stage.downscale for side in config.resolution))
        for stage in config.curriculum.stages.values()
    ] or [tuple(config.resolution)]
    return [(height, width) for height, width in dict.fromkeys(sizes)]
