"""`pose:FOLDER` and `densepose:FOLDER` of `data.sources`: skeletons and surfaces of people, drawn within a crop."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from trainer.data.pictures.files import read_bytes
from vid2vid.config import DataConfig, PosePeople, Vid2VidConfig
from vid2vid.data.augment import Crop
from vid2vid.data.folders.files import decode_frame
from vid2vid.data.landmarks.person import Person, largest
from vid2vid.data.landmarks.read import read_people
from vid2vid.data.pose.densepose import check_iuv, draw_iuv, dropped_parts
from vid2vid.data.pose.draw import Drops, draw_people
from vid2vid.data.sources.frame_source import Alike, SourceSequence
from vid2vid.data.sources.kinds import SourceSpec

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
        data: who is shown, and how often parts are dropped.
    """

    def __init__(self, files: Sequence[Path | None], data: DataConfig) -> None:
        self.files, self.data = files, data

    def frame(self, index: int, alike: Alike) -> PoseSource:
        people = self.people(index)
        shown = largest(people) if self.data.pose_people is PosePeople.largest else people
        return PoseSource(shown, self.data.pose_drop)

    def people(self, index: int) -> list[Person]:
        """All people of a frame.

        Raises:
            BadFileError, DataError: see `read_people`.
        """
        path = self.files[index]
        assert path is not None
        return read_people(read_bytes(path), path)

    def part(self, start: int, stop: int) -> Poses:
        return Poses(self.files[start:stop], self.data)


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
        iuv = alike(decode_frame(data, path, None), path, data)
        check_iuv(iuv, path)
        return DensePoseSource(iuv, self.drop)

    def part(self, start: int, stop: int) -> DensePoses:
        return DensePoses(self.files[start:stop], self.drop)


def open_poses(entry: SourceSpec, files: Sequence[Path | None], config: Vid2VidConfig) -> Poses:
    """`pose:` of one sequence."""
    return Poses(files, config.data)


def open_densepose(entry: SourceSpec, files: Sequence[Path | None], config: Vid2VidConfig) -> DensePoses:
    """`densepose:` of one sequence."""
    return DensePoses(files, config.data.pose_drop)
