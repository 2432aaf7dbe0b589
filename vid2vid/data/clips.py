"""Clips out of sequences: which frames make a sample, how training and validation are split, one crop per clip."""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trainer.errors import ConfigError, DataError
from vid2vid.config import OnBadFile, Vid2VidConfig
from vid2vid.data.augment import Crop, centre_crop, random_crop
from vid2vid.data.frames import FrameSequence
from vid2vid.data.picture import other_frame, wants_picture
from vid2vid.data.reading import BadFileError
from vid2vid.data.reference import ReferenceFlow

logger = logging.getLogger(__name__)

_SHOWN = 5  # names listed in a message before "and N more"
_ATTEMPTS = 20  # clips tried in a row with on_bad_file=skip
_SHORTEST_VALIDATION = 2  # frames; temporal measures need a pair


class ClipDataset:
    """Clips of sequences on disk, as samples (`trainer.task.SampleDataset`).

    A sample has `images` uint8 (T, 3, H, W), `labels` int16 (T, H, W) or `source` uint8 (T, C, H, W), where known
    `instances` int32 (T, H, W), `flow` float16 (T, 2, H, W) and `confidence` uint8 (T, 1, H, W) unless data.flow=none,
    `picture` uint8 (3, H, W) for model.first_frame=image (`vid2vid.data.picture`), and `name`. Training clips start
    anywhere, with one random frame step, scale, crop and flip for all their frames; the sequences are drawn in
    proportion to their lengths. Validation clips are fixed windows, centre-cropped, all of `data.val_frames` frames (or
    of the longest sequence, where that is shorter).

    Args:
        config: the run's.
        split: train, val or test.
        resolution: (H, W).
        frames: length T of training clips.
        sequences: of this split; those too short are left out, and the log says so.
    Raises:
        DataError: no sequence is long enough.
    """

    def __init__(
        self,
        config: Vid2VidConfig,
        split: str,
        resolution: tuple[int, int],
        frames: int,
        sequences: list[FrameSequence],
    ) -> None:
        self.config, self.data = config, config.data
        self.training = split == "train"
        self.resolution = resolution
        self.reference = ReferenceFlow(config.data, resolution)
        longest = max((len(s) for s in sequences), default=0)
        # Clips of validation have one length, so that they can be batched.
        shortest = frames if self.training else max(_SHORTEST_VALIDATION, min(config.data.val_frames, longest))
        self.frames = shortest
        self.sequences = long_enough(sequences, shortest, split)
        self.windows = self._windows()
        self._ends = list(accumulate(max(1, len(s) // frames) for s in self.sequences)) if self.training else []

    def __len__(self) -> int:
        """Training: how many clips fit side by side; validation: how many there are."""
        return self._ends[-1] if self.training else len(self.windows)

    def sample(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """Clip `index`, cut and augmented as `rng` draws (training only).

        Raises:
            DataError: a file that does not fit; one that cannot be decoded, unless data.on_bad_file=skip, which takes
                another clip in its place.
        """
        for _ in range(_ATTEMPTS):
            try:
                return self._load(index, rng)
            except BadFileError as error:
                if self.data.on_bad_file is not OnBadFile["skip"]:
                    raise
                logger.warning("clip skipped (data.on_bad_file=skip): %s", error)
                last = error
            index = int(rng.integers(len(self))) if self.training else (index + 1) % len(self)
        raise DataError(f"{_ATTEMPTS} clips in a row have files that cannot be read; the last: {last}")

    def _windows(self) -> list[tuple[int, int]]:
        """Validation clips as (sequence, start): side by side."""
        lengths = [len(sequence) for sequence in self.sequences]
        step = self.frames
        return [(number, start) for number, n in enumerate(lengths) for start in range(0, n - step + 1, step)]

    def _cut(self, index: int, rng: np.random.Generator) -> tuple[FrameSequence, list[int]]:
        if not self.training:
            number, start = self.windows[index]
            return self.sequences[number], list(range(start, start + self.frames))
        sequence = self.sequences[bisect_right(self._ends, index)]
        longest_step = (len(sequence) - 1) // (self.frames - 1) if self.frames > 1 else 1
        step = int(rng.integers(1, max(1, min(self.data.frame_step, longest_step)) + 1))
        start = int(rng.integers(0, len(sequence) - step * (self.frames - 1)))
        return sequence, [start + step * t for t in range(self.frames)]

    def _crop(self, size: tuple[int, int], rng: np.random.Generator) -> Crop:
        if not self.training:
            return centre_crop(size, self.resolution)
        low, high = self.data.scale
        return random_crop(size, self.resolution, (low, high), self.data.flip, rng)

    def _load(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        sequence, indices = self._cut(index, rng)
        flow = self.reference.clip()
        crop: Crop | None = None
        frames = []
        for raw in sequence.read(indices):
            crop = crop or self._crop(raw.size, rng)
            raw.pixels()
            frames.append(raw.cropped(crop))
            if flow is not None:
                flow.add(raw)
        assert crop is not None
        sample: dict[str, Any] = {
            "images" if key == "image" else key: torch.stack([frame[key] for frame in frames]) for key in frames[0]
        }
        if flow is not None:
            sample["flow"], sample["confidence"] = flow.finish(sample["images"], crop)
        if wants_picture(self.config.model):
            drawn = rng if self.training else None
            other = other_frame(len(sequence), indices, self.config.model.past_frames, drawn, sequence.name)
            (raw,) = sequence.read([other])
            raw.pixels()
            sample["picture"] = raw.cropped(crop)["image"]
        sample["name"] = f"{sequence.name}/{sequence.frame_name(indices[0])}"
        return sample


def long_enough(sequences: list[FrameSequence], frames: int, split: str) -> list[FrameSequence]:
    """The sequences of at least `frames` frames; the others are named in a warning.

    Raises:
        DataError: there is none.
    """
    kept = [s for s in sequences if len(s) >= frames]
    dropped = [f"{s.name} ({len(s)})" for s in sequences if len(s) < frames]
    if not kept:
        raise DataError(
            f"no clip for the {split} split: {frames} frames are needed and the sequences have fewer: "
            f"{shown(dropped) or 'there are none'}. Use longer sequences, or fewer frames per clip "
            "(curriculum stage `frames`)."
        )
    if dropped:
        logger.warning(
            "%s: %d of %d sequences dropped, shorter than the %d frames needed: %s",
            split, len(dropped), len(sequences), frames, shown(dropped),
        )  # fmt: skip
    return kept


def split_sequences(
    config: Vid2VidConfig, split: str, frames: int, scan: Callable[[Path], list[FrameSequence]]
) -> list[FrameSequence]:
    """The sequences of a split.

    With `data.val_root`, training has all of `data.root`. Without, validation has the last `data.val_share` of its
    sequences. Of a single one it has the last frames; where that leaves too few to train on, training and validation
    share it, and the log says so.

    Args:
        config: `data.root`, `data.val_root`, `data.val_share`, and the longest clip of the curriculum.
        split: train, or val and test, which are the same.
        frames: length of a training clip.
        scan: finds the sequences below a root.
    Raises:
        ConfigError: no data.root.
    """
    data = config.data
    training = split == "train"
    if not data.root:
        raise ConfigError(f"data.root is not set: data={data.kind.value} needs the place of the data: data.root=PATH")
    if data.val_root:
        return scan(Path(data.root if training else data.val_root))
    sequences = scan(Path(data.root))
    groups = list(dict.fromkeys(s.group for s in sequences))
    share = data.val_share
    if not 0 < share < 1:
        raise ConfigError(f"data.val_share={share} must lie between 0 and 1, e.g. 0.1; or set data.val_root")
    if len(groups) > 1:
        count = min(len(groups) - 1, max(1, round(share * len(groups))))
        held_out = set(groups[-count:])
        return [s for s in sequences if (s.group in held_out) != training]
    # One clip length for all stages, so that no stage trains on what another validates on.
    longest = max([frames, *(s.frames + config.model.past_frames for s in config.curriculum.stages.values())])
    last = sequences[-1]
    tail = max(_SHORTEST_VALIDATION, round(share * sum(map(len, sequences))))
    if len(last) - tail < longest:
        if not training:
            logger.warning(
                "%s is the only sequence and too short to set frames aside: validation uses the frames of training, "
                "its figures say nothing about new footage. Set data.val_root.",
                last.group,
            )
        return sequences
    cut = len(last) - tail
    if training:
        return [*sequences[:-1], last.part(0, cut)]
    logger.warning("%s is the only sequence: validation uses its last %d frames", last.group, tail)
    return [last.part(cut, len(last))]


def shown(names: list[str]) -> str:
    """The first few names and how many more there are."""
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
