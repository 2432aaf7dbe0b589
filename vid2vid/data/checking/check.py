"""Reads a data set once, in parallel: clips, lengths, sizes, label histogram, files that cannot be used."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch

from trainer.config.fields import OnBadFile
from trainer.data.checking import Progress, in_order
from trainer.data.labels.palette import CLASSES
from trainer.data.pictures.files import BadFileError
from trainer.errors import ConfigError, DataError
from trainer.schedule import stage_table
from trainer.text import few
from vid2vid.config import Vid2VidConfig
from vid2vid.data import clips_of, settled
from vid2vid.data.checking.advice import give_advice
from vid2vid.data.checking.report import Report
from vid2vid.data.folders.frames import FolderSequence
from vid2vid.data.frames import FrameSequence, RawFrame
from vid2vid.data.labels.decode import UnknownColours, shown_colours
from vid2vid.data.labels.label_range import LabelRange
from vid2vid.data.labels.trained_colours import check_colours, used_colours
from vid2vid.data.reference_flow import ReferenceFlow
from vid2vid.data.sources.frame_source import PeopleSource
from vid2vid.data.video.pictures import PictureSequence
from vid2vid.data.video.sequence import VideoSequence

_CHUNK = 16  # frames read by one job
_FILM_CHUNK = 512  # of a video, where a job begins at the key frame before it
_LISTED = 20  # messages of different kinds in the report
_NAMED = 6  # files of each size kept by one job
_BINS = 1 << 16


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
    damaged: bool = False
    colours: list[UnknownColours] = field(default_factory=list)
    files: dict[tuple[int, int], list[str]] = field(default_factory=dict)  # of each size, the first few
    nobody: int = 0
    frames: int = 0


def find_sequences(config: Vid2VidConfig) -> list[tuple[str, FrameSequence]]:
    """(split, sequence) of the data set as training and validation would see it; shared sequences once, as train.

    Raises:
        ConfigError: the street world, which has no files, or no data.root.
        DataError: nothing there.
    """
    if config.data.kind.built_in:
        raise ConfigError(
            "data=street is rendered, there are no files to check; "
            "name your data: data=folders data.root=PATH (or data=cityscapes, data=video)"
        )
    config = settled(config)
    train, val = (clips_of(config.data.kind).sequences_of_split(config, split) for split in ("train", "val"))
    check_colours(used_colours(train), val)
    spans = {_span(s) for s in train}
    return [("train", s) for s in train] + [("val", s) for s in val if _span(s) not in spans]


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
    if first is not None and first.wants_labels:
        report.label_range = first.label_range
        table = first.style.labels.table
        report.changed = first.style.labels.label_map is not None
        report.names = table.names if table is not None and not report.changed else {}
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
    files: list[dict[tuple[int, int], list[str]]] = [{} for _ in sequences]

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
            report.damaged |= chunk.damaged
            for size, names in chunk.files.items():
                files[chunk.number].setdefault(size, []).extend(names)
            for error in chunk.colours:
                report.colours += error.colours
                report.coloured, report.table = report.coloured or str(error.path), error.table.source
            report.nobody += chunk.nobody
            report.frames += chunk.frames
            yield chunk.frames

    chunks = in_order(read, jobs, max(1, config.data.workers))
    for _ in progress(done(chunks), sum(len(s) for _, s in sequences)):
        pass
    report.pixels = Counter({int(i): int(pixels[i]) for i in pixels.nonzero()[0]})
    for (split, sequence), found, names in zip(sequences, sizes, files, strict=True):
        size = found.most_common(1)[0][0] if found else None
        report.lengths.append((split, sequence.name, len(sequence), size))
        if len(found) > 1:
            report.bad.append(f"{sequence.name}: frames of different sizes (HxW): {_sizes(found)}")
            report.odd += [(sequence.name, other, names[other]) for other in found if other != size]
    report.advice = give_advice(config, sequences, report)
    return report


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
        except UnknownColours as error:
            chunk.colours.append(error)
        except DataError as error:
            chunk.bad.append(str(error))
            chunk.damaged |= isinstance(error, BadFileError)
    return chunk


def _count(chunk: _Chunk, raw: RawFrame, allowed: LabelRange | None) -> None:
    chunk.sizes[raw.size] += 1
    names = chunk.files.setdefault(raw.size, [])
    if len(names) < _NAMED:
        names.append(raw.name)
    people = [source.people() for source in raw.sources if isinstance(source, PeopleSource)]
    chunk.nobody += bool(people) and not any(person.box() for found in people for person in found)
    if raw.labels is None or allowed is None:
        return
    counts = np.bincount(raw.labels.numpy().ravel().clip(0, _BINS - 1), minlength=_BINS)
    chunk.pixels = counts if chunk.pixels is None else chunk.pixels + counts
    chunk.frames_with.update(int(i) for i in counts.nonzero()[0])
    unknown = allowed.unknown(raw.labels)
    chunk.unknown_frames += bool(unknown)
    for label in unknown:
        chunk.unknown.setdefault(label, raw.label_name or raw.name)


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
    if report.colours:
        lines.append(f"\ncolours in no table, first in {report.coloured}:")
        lines.append(f"  {shown_colours(report.colours)} ({sum(report.colours.values())} pixels)")
    if report.bad:
        lines.append(f"\n{len(report.bad)} files cannot be used:")
        lines += _grouped(report.bad)
    lines += [f"\nnote: {line}" for line in report.advice]
    if report.usable:
        lines.append(f"\nall {report.frames} frames can be used")
    return "\n".join(lines)


def _grouped(messages: list[str]) -> list[str]:
    """The first message of each kind, and how many more say the same of other files."""
    kinds: dict[str, list[str]] = {}
    for message in messages:
        kinds.setdefault(re.sub(r"\S*/\S+|\d+", "", message), []).append(message)
    lines = []
    for alike in list(kinds.values())[:_LISTED]:
        others = [message.split()[0].rstrip(":") for message in alike[1:]]
        lines.append(f"  {alike[0]}")
        lines += [f"    so do {len(others)} more: {few(others)}"] if others else []
    if len(kinds) > _LISTED:
        lines.append(f"  and {len(kinds) - _LISTED} other messages")
    return lines


def _class_name(label: int, report: Report) -> str:
    if report.label_range is not None and label in report.label_range.ignored:
        return "(ignored)"
    if label in report.unknown:
        return "OUT OF RANGE"
    if report.names:
        return report.names.get(label, "")
    cityscapes = report.label_range is not None and report.label_range.num_labels in (34, 35) and not report.changed
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
    """Compute the reference flow of all frames that training may take for neighbours (`data.frame_step`, in both orders
    where a stage has `palindrome`) into `data.flow_cache`: RAFT on a GPU, say.

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

    steps = range(1, config.data.frame_step + 1)  # training draws clips with every one of them
    both = any(stage.palindrome for stage in config.curriculum.stages.values())  # clips are played backwards

    def pairs() -> Iterator[int]:
        for _, sequence in sequences:
            for flow in flows:
                for step in steps:
                    for first in range(min(step, len(sequence))):
                        for _ in flow.fill(sequence.read(range(first, len(sequence), step), skip), both):
                            yield 1

    count = sum(max(0, len(s) - step) for _, s in sequences for step in steps) * len(flows) * (2 if both else 1)
    return sum(progress(pairs(), count))


def _span(sequence: FrameSequence) -> tuple[str, str, int]:
    """What tells a sequence from others: its files, not its name, which another root may have too."""
    if isinstance(sequence, FolderSequence | PictureSequence):
        first, last = (str(sequence.frames[i].label or sequence.frames[i].image) for i in (0, -1))
    else:
        place = str(getattr(sequence, "path", sequence.name))
        first, last = (f"{place} {sequence.frame_name(i)}" for i in (0, len(sequence) - 1))
    return first, last, len(sequence)


def stage_resolutions(config: Vid2VidConfig) -> list[tuple[int, int]]:
    """(H, W) of every stage of the curriculum, each once."""
    return list(dict.fromkeys(stage_table.sizes(config).values()))
