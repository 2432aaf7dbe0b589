"""`pose:FOLDER` and `densepose:FOLDER` of `data.sources`: skeletons and surfaces of people, drawn within a crop."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainer.config.fields import OnBadFile
from trainer.data.labels.stored import refuse_lossy
from trainer.data.pictures.files import BadFileError, read_bytes
from trainer.data.pictures.skipping import left_out
from trainer.errors import DataError
from trainer.records.progress import followed
from vid2vid.config import PosePeople, Vid2VidConfig
from vid2vid.data.augment import Crop, centre_crop
from vid2vid.data.folders.files import decode_frame
from vid2vid.data.landmarks.follow import follow
from vid2vid.data.landmarks.person import Person, largest
from vid2vid.data.landmarks.read import read_people
from vid2vid.data.pose.densepose import check_iuv, draw_iuv, dropped_parts
from vid2vid.data.pose.draw import Drops, draw_people
from vid2vid.data.pose.proportions import SURE, Proportions, fit, head_moves, measure
from vid2vid.data.sources.frame_source import Alike, FrameSize, HeadMoves, SourceSequence
from vid2vid.data.sources.kinds import SourceSpec

_MANY = 5000  # files that take more than a moment to read: their progress is shown
_KEPT = 2000  # frames that proportions are the medians of
_POSE, _DENSEPOSE = 0, 1  # streams of random numbers: what is dropped of one kind says nothing of the other


class PoseSource:
    """The people of one frame.

    Args:
        shown: in pixels of the frame.
        drop: `data.pose_drop`.
    """

    size = None

    def __init__(self, shown: Sequence[Person], drop: float) -> None:
        self.shown, self.drop = shown, drop

    def people(self) -> Sequence[Person]:
        """Who is drawn, in pixels of the frame."""
        return self.shown

    def draw(self, crop: Crop, image: Tensor | None, seed: int | None) -> Tensor:
        """See `draw_people`. What is dropped is so in all frames of a clip: a limb that comes and goes with every frame
        would teach the networks to flicker, and what detectors miss they miss for longer."""
        drops = None if seed is None else Drops.drawn(np.random.default_rng((seed, _POSE)), self.drop)
        return torch.from_numpy(draw_people([person.within(crop) for person in self.shown], crop.size, drops))


class Poses(SourceSequence):
    """The people of a sequence's frames.

    Args:
        files: of landmarks, one per frame.
        config: who is shown, and how often parts are dropped; the resolution that frames are cropped to.
        instead: the person of each frame who is drawn in place of those in the files; None there: nobody.
        moves: where the head of that person was and is.
    """

    def __init__(
        self,
        files: Sequence[Path | None],
        config: Vid2VidConfig,
        instead: Sequence[Person | None] | None = None,
        moves: HeadMoves | None = None,
    ) -> None:
        self.files, self.config, self.instead, self.moves = files, config, instead, moves

    def frame(self, index: int, alike: Alike) -> PoseSource:
        data = self.config.data
        if self.instead is not None:
            person = self.instead[index]
            return PoseSource([] if person is None else [person], data.pose_drop)
        people = self.people(index)
        return PoseSource(largest(people) if data.pose_people is PosePeople.largest else people, data.pose_drop)

    def people(self, index: int) -> list[Person]:
        """All people of a frame.

        Raises:
            BadFileError, DataError: see `read_people`.
        """
        path = self.files[index]
        assert path is not None
        return read_people(read_bytes(path), path)

    def part(self, start: int, stop: int) -> Poses:
        moves = self.moves and HeadMoves(self.moves.before[start:stop], self.moves.after[start:stop], self.moves.scale)
        return Poses(self.files[start:stop], self.config, self.instead and self.instead[start:stop], moves)

    def head_moves(self) -> HeadMoves | None:
        return self.moves

    def track(self, indices: Sequence[int]) -> list[Person | None]:
        """One person through some frames (`follow`).

        A file that cannot be decoded is a frame without anybody with data.on_bad_file=skip.
        """
        many = len(indices) > _MANY
        frames = []
        for index in followed(indices, unit="file", what="poses") if many else indices:
            try:
                frames.append(self.people(index))
            except BadFileError as error:
                left_out(error, self.config.data.on_bad_file is OnBadFile["skip"])
                frames.append([])
        return follow(frames)

    def shown(self, frame: FrameSize) -> Crop:
        """What of its frames is shown in evaluations and in what is generated."""
        height, width = self.config.resolution
        return centre_crop(frame(), (height, width))

    def fitted(self, proportions: Any, frame: FrameSize) -> Poses:
        """One person's motion, the largest one's in the first frame, on another one's body (`fit`).

        Args:
            proportions: of `pose_proportions`.
            frame: size of the frames.

        Raises:
            DataError: nobody is in these frames, or no limb that the proportions know.
        """
        track, crop = self.track(range(len(self.files))), self.shown(frame)
        chosen = [track[index] for index in _spread(len(track), _KEPT)]
        source, target = measure([chosen], [crop]), Proportions.of_plain(proportions)
        people = fit(track, source, target, crop)
        if people is None:
            raise DataError(
                f"{self.files[0]}: nobody in it and the files beside it has a limb whose length is known of the target "
                f"too, with a confidence above {SURE}: give a source that shows them both from head to foot, or leave "
                "retarget out"
            )
        return Poses(self.files, self.config, people, head_moves(track, people, source, target))


class DensePoseSource:
    """The surfaces of the people of one frame.

    Args:
        iuv: uint8 (3, h, w), see `draw_iuv`.
        drop: `data.pose_drop`.
    """

    def __init__(self, iuv: Tensor, drop: float) -> None:
        self.iuv, self.drop = iuv, drop

    @property
    def size(self) -> tuple[int, int]:
        return self.iuv.shape[-2], self.iuv.shape[-1]

    def draw(self, crop: Crop, image: Tensor | None, seed: int | None) -> Tensor:
        dropped = () if seed is None else dropped_parts(np.random.default_rng((seed, _DENSEPOSE)), self.drop)
        return draw_iuv(crop.ids(self.iuv), dropped)


class DensePoses(SourceSequence):
    """DensePose maps, one file per frame.

    Args:
        files: in the order of the frames.
        drop: `data.pose_drop`.
    """

    def __init__(self, files: Sequence[Path | None], drop: float) -> None:
        self.files, self.drop = files, drop

    def frame(self, index: int, alike: Alike) -> DensePoseSource:
        path = self.files[index]
        assert path is not None
        data = read_bytes(path)
        refuse_lossy(data, path, "DensePose map")
        iuv = alike(decode_frame(data, path, None), path, data)
        check_iuv(iuv, path)
        return DensePoseSource(iuv, self.drop)

    def part(self, start: int, stop: int) -> DensePoses:
        return DensePoses(self.files[start:stop], self.drop)


def open_poses(entry: SourceSpec, files: Sequence[Path | None], config: Vid2VidConfig) -> Poses:
    """`pose:` of one sequence."""
    return Poses(files, config)


def pose_proportions(sequences: Sequence[Poses], frames: Sequence[FrameSize]) -> dict[str, Any] | None:
    """The proportions of who is followed in some sequences (`Proportions.plain`), of at most some thousand frames,
    evenly spread; None: no limb is known.

    Raises:
        DataError: nobody is in any of them, so that every skeleton would be drawn black.
    """
    each = max(1, _KEPT // max(1, len(sequences)))
    tracks = [poses.track(_spread(len(poses.files), each)) for poses in sequences]
    if sequences and not any(person for track in tracks for person in track):
        raise DataError(
            f"{sequences[0].files[0]}: nobody is in it, nor in any of the {sum(map(len, tracks))} files of landmarks "
            "that were looked at. Look for the people anew (scripts/prepare.py people), or take pose: out of "
            "data.sources"
        )
    found = measure(tracks, [poses.shown(frame) for poses, frame in zip(sequences, frames, strict=True)])
    return None if np.isnan(found.limbs).all() else found.plain()


def _spread(frames: int, most: int) -> list[int]:
    return np.unique(np.linspace(0, frames - 1, min(frames, most)).round().astype(int)).tolist()


def open_densepose(entry: SourceSpec, files: Sequence[Path | None], config: Vid2VidConfig) -> DensePoses:
    """`densepose:` of one sequence."""
    return DensePoses(files, config.data.pose_drop)
