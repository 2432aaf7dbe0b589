"""Clips out of sequences: which frames make a sample, how training and validation are split, one crop per clip."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trainer.config.fields import OnBadFile
from trainer.data.pictures.files import BadFileError
from trainer.data.pictures.skipping import BadFiles
from trainer.errors import DataError
from trainer.text import few
from vid2vid.config import FirstFrame, Region, Vid2VidConfig
from vid2vid.data.augment import Crop, random_crop
from vid2vid.data.first_picture import other_frame, wants_picture
from vid2vid.data.frames import FrameSequence, tell
from vid2vid.data.reference_flow import ReferenceFlow
from vid2vid.data.split import SHORTEST_VALIDATION, shorter_clips, shortest_validation

logger = logging.getLogger(__name__)

_MEASURED = 0.5  # of the frames that validation clips of one length must cover


class ClipDataset(ABC):
    """Clips of sequences on disk, as samples (`trainer.task.SampleDataset`). A kind of data says where they are.

    A sample has `images` uint8 (T, 3, H, W), `labels` int16 (T, H, W) or `source` uint8 (T, C, H, W), where known
    `instances` int32 (T, H, W), `flow` float16 (T, 2, H, W) and `confidence` uint8 (T, 1, H, W) unless data.flow=none,
    `picture` uint8 (3, H, W) for model.first_frame=image (`vid2vid.data.first_picture`), and `name`; in evaluations
    with data.on_bad_file=skip also `readable`, 0 for what only fills the place of a clip with a bad file.

    Training clips start anywhere, with one random frame step, scale, crop and flip for all their frames; the sequences
    are drawn in proportion to their lengths. Validation clips are fixed windows, centre-cropped, all of one length:
    `data.val_frames`, or less where sequences are shorter (`clip_length`).

    Args:
        config: the run's.
        split: train, val or test.
        resolution: (H, W).
        frames: length T of training clips.
        back: see `vid2vid.data.build_dataset`.

    Attributes:
        left_out: sequences that `measure_all` found too short.
    Raises:
        DataError: no sequence is long enough.
    """

    def __init__(
        self,
        config: Vid2VidConfig,
        split: str,
        resolution: tuple[int, int],
        frames: int,
        back: int = 0,
    ) -> None:
        sequences = self.sequences_of_split(config, split)
        self.config, self.data, self.split = config, config.data, split
        self.training, self.back = split == "train", back
        self.resolution = resolution
        self.reference = ReferenceFlow(config.data, resolution)
        self.bad_files = BadFiles(self.data.on_bad_file is OnBadFile["skip"], "clips")
        # Clips of validation have one length, so that they can be batched.
        lengths, shortest = [len(s) for s in sequences], shortest_validation(config)
        self.frames = frames if self.training else clip_length(lengths, config.data.val_frames, shortest)
        self.regions = [kind for kind in config.model.regions if self.training and kind is not Region.labels]
        self._given, self.left_out = sequences, 0
        self.sequences = long_enough(sequences, self.frames, split, config)
        if not self.training and self.frames < config.data.val_frames:
            length = f"{self.frames} frame{'s' if self.frames > 1 else ''}"
            words = f"{split} clips have {length}, not data.val_frames={config.data.val_frames}: most of its sequences"
            tell(logger, config.data.val_root or config.data.root, f"{words} are no longer")
        self.windows = _side_by_side(self.sequences, self.frames)
        self._ends = list(accumulate(max(1, len(s) // frames) for s in self.sequences)) if self.training else []

    @staticmethod
    @abstractmethod
    def sequences_of_split(config: Vid2VidConfig, split: str) -> list[FrameSequence]:
        """The sequences of a split; those too short for a clip are left out later, and the log says so.

        Raises:
            ConfigError: no data.root.
            DataError: nothing usable there; names it.
        """

    @staticmethod
    @abstractmethod
    def settled(config: Vid2VidConfig) -> Vid2VidConfig:
        """`vid2vid.data.settled`."""

    @staticmethod
    @abstractmethod
    def open(source: str | Path, config: Vid2VidConfig, frames: int | None) -> Iterable[Any]:
        """`vid2vid.data.open_source`."""

    def begin_with(self, first_frame: FirstFrame) -> None:
        """Clips that are to be generated from another start than `model.first_frame`, which has decided the split."""
        self.config = replace(self.config, model=replace(self.config.model, first_frame=first_frame))

    def measure_all(self, frames: int) -> None:
        """Turn the clips into fixed windows that cover every frame: what is measured, one by one, after training.

        Sequences too short for `model.first_frame` are left out, and the log says so.

        Args:
            frames: of a clip; what is left at the end of a sequence is a shorter one, or lengthens the last.
        Raises:
            DataError: no sequence is long enough.
        """
        self.training = False
        model = self.config.model
        least = max(SHORTEST_VALIDATION, model.past_frames + 1)
        needed = 2 if wants_picture(model) else model.past_frames + 1 if model.first_frame is FirstFrame.real else 1
        if max(map(len, self._given), default=0) < needed:
            raise DataError(
                f"{self.data.root}: no sequence has the {needed} frames with which "
                f"first_frame={model.first_frame.name} can be measured: use first_frame=model, or longer sequences"
            )
        self.sequences = long_enough(self._given, needed, self.split, self.config)
        self.left_out = len(self._given) - len(self.sequences)
        self.windows = _side_by_side(self.sequences, frames, least)

    def __len__(self) -> int:
        """Training: how many clips fit side by side; validation: how many there are."""
        return self._ends[-1] if self.training else len(self.windows)

    def name(self, index: int) -> str:
        """The sequence, of fixed windows with the first frame's name: training draws its frames."""
        if self.training:
            return self.sequences[bisect_right(self._ends, index)].name
        number, start, _ = self.windows[index]
        return f"{self.sequences[number].name}/{self.sequences[number].frame_name(start)}"

    def sample(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """Clip `index`, cut and augmented as `rng` draws (training only).

        Raises:
            DataError: a file that does not fit; one that cannot be decoded, unless data.on_bad_file=skip, which takes
                another clip in its place, one that does not count in an evaluation.
        """
        if not self.training:
            return self._measured(index, rng)
        return self.bad_files.replace(index, len(self), lambda chosen: self._load(chosen, rng), drawn=True)

    def _measured(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """A clip of an evaluation, where each counts once: what fills a bad one's place does not."""
        readable = 1
        try:
            sample = self._load(index, rng)
        except BadFileError as error:
            self.bad_files.passed_over(error, "Its clip counts nowhere")
            following = (index + 1) % len(self)
            sample = self.bad_files.replace(following, len(self), lambda chosen: self._load(chosen, rng))
            readable = 0
        return sample | {"readable": readable} if self.bad_files.skip else sample

    def _cut(self, index: int, rng: np.random.Generator) -> tuple[FrameSequence, list[int]]:
        if not self.training:
            number, start, stop = self.windows[index]
            return self.sequences[number], list(range(start, stop))
        sequence = self.sequences[bisect_right(self._ends, index)]
        longest_step = (len(sequence) - 1) // (self.frames - 1) if self.frames > 1 else 1
        step = int(rng.integers(1, max(1, min(self.data.frame_step, longest_step)) + 1))
        start = int(rng.integers(0, len(sequence) - step * (self.frames - 1)))
        return sequence, [start + step * t for t in range(self.frames)]

    def _crop(
        self, sequence: FrameSequence, indices: list[int], size: tuple[int, int], rng: np.random.Generator
    ) -> Crop:
        if not self.training:
            return sequence.centred(size, self.resolution, indices)
        low, high = self.data.scale
        box = sequence.framing(indices, size, self.resolution)
        return random_crop(size, self.resolution, (low, high), self.data.flip, rng, box)

    def _load(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        sequence, indices = self._cut(index, rng)
        flow = self.reference.clip()
        crop: Crop | None = None
        # What sources draw at random is drawn once per clip; other conditions draw nothing more than they did.
        seed = int(rng.integers(1 << 62)) if self.training and self.data.sources else None
        frames, shown = [], []
        for raw in sequence.read(indices):
            crop = crop or self._crop(sequence, indices, raw.size, rng)
            raw.pixels()
            frames.append(raw.cropped(crop, seed, self.regions))
            if flow is not None:
                flow.add(raw)
                shown += [raw] if self.back else []
        assert crop is not None
        if self.back:
            frames += frames[: -self.back - 1 : -1]
            if flow is not None:
                flow.turn(shown[-self.back :])
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


def clip_length(lengths: list[int], requested: int, shortest: int = SHORTEST_VALIDATION) -> int:
    """The longest clip of at most `requested` frames with which half of the frames are measured, at least a pair.

    One long sequence must not set the length for all: the others would be left out.

    Args:
        lengths: of the sequences.
        requested: frames, `data.val_frames`.
        shortest: see `shortest_validation`.
    """
    longest = max(lengths, default=0)
    if longest < SHORTEST_VALIDATION == shortest:
        return 1
    for frames in range(max(shortest, min(requested, longest)), shortest, -1):
        if sum(n // frames * frames for n in lengths) >= _MEASURED * sum(n for n in lengths if n > 1):
            return frames
    return shortest


def _side_by_side(
    sequences: list[FrameSequence], frames: int, remainder: int | None = None
) -> list[tuple[int, int, int]]:
    """Clips as (sequence, first frame, frame after the last).

    Args:
        frames: of a clip.
        remainder: what is left of a sequence is a clip if it has so many frames, and else lengthens the last; None: it
            is left out.
    """
    found = []
    for number, length in enumerate(map(len, sequences)):
        starts = list(range(0, length - frames + 1, frames))
        left = length - len(starts) * frames
        if remainder is not None and left and (left >= remainder or not starts):
            starts.append(length - left)
        stops = [*starts[1:], length if remainder is not None else (starts[-1] + frames if starts else 0)]
        found += [(number, start, stop) for start, stop in zip(starts, stops, strict=True) if starts]
    return found


def long_enough(sequences: list[FrameSequence], frames: int, split: str, config: Vid2VidConfig) -> list[FrameSequence]:
    """The sequences of at least `frames` frames; the others are named in a warning.

    Raises:
        DataError: there is none.
    """
    kept = [s for s in sequences if len(s) >= frames]
    dropped = [f"{s.name} ({len(s)})" for s in sequences if len(s) < frames]
    if not kept:
        remedy = f"shorter clips: {shorter_clips(config, max(map(len, sequences), default=0))}"
        if split != "train":
            remedy = "model.first_frame=model, which needs no real frames before the clip"
        raise DataError(
            f"no clip for the {split} split: {frames} frames are needed and the sequences have fewer: "
            f"{few(dropped) or 'there are none'}. Use longer sequences, or {remedy}."
        )
    if dropped:
        logger.warning(
            "%s: %d of %d sequences dropped, shorter than the %d frames needed: %s",
            split, len(dropped), len(sequences), frames, few(dropped),
        )  # fmt: skip
    return kept
