"""`face:FOLDER` of `data.sources`: files of landmarks as the faces of a sequence, each drawn within a crop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainer.config.fields import OnBadFile
from trainer.data.pictures.files import BadFileError, read_bytes
from trainer.data.pictures.skipping import left_out
from trainer.records.progress import followed
from vid2vid.config import CropKind, FaceBackground, Vid2VidConfig
from vid2vid.data.augment import Box, Crop
from vid2vid.data.face.picture import draw_face, head_mask
from vid2vid.data.face.proportions import fit_proportions, neutral_face
from vid2vid.data.face.square import face_box, outside
from vid2vid.data.face.track import face_track, found
from vid2vid.data.folders.files import Stamped, stamped
from vid2vid.data.landmarks.bridge import bridge
from vid2vid.data.landmarks.person import Person
from vid2vid.data.landmarks.read import read_people
from vid2vid.data.sources.frame_source import Alike, FrameSize, Gaps, HeadMoves, SourceSequence
from vid2vid.data.sources.kinds import SourceSpec
from vid2vid.data.sources.pictures import canny

_MANY = 5000  # files that take more than a moment to read: their progress is shown
_KEPT = 2000  # frames that a neutral face is the median of, evenly spread


@dataclass(frozen=True)
class Style:
    """How faces are drawn.

    Attributes:
        distance: with the channels of distances (`data.face_distance`).
        edges: thresholds of the Canny edges behind the face (`data.face_background`), or None.
        behind: picture that these are of, uint8 (3, H, W) of the crop's resolution, in place of the frames'.
    """

    distance: bool = True
    edges: tuple[int, int] | None = None
    behind: Tensor | None = None


class FaceSource:
    """The face of one frame.

    Args:
        points: (68, 2) x, y in pixels of the frame, NaN where missing.
        style: how it is drawn.
        size: see `FrameSource`.
    """

    def __init__(self, points: np.ndarray, style: Style, size: tuple[int, int] | None = None) -> None:
        self.points, self.style, self.size = points, style, size

    def people(self) -> list[Person]:
        seen = ~np.isnan(self.points[:, :1])
        return [Person(face=np.concatenate([self.points, seen], axis=1, dtype=np.float32))]

    def draw(self, crop: Crop, image: Tensor | None, seed: int | None) -> Tensor:
        """See `draw_face`; with edges behind the face where `Style` has them and there is a picture: their maximum
        outside the head, in the first channel."""
        person = self.people()[0].within(crop)
        points = np.where(person.face[:, 2:] > 0, person.face[:, :2], np.nan)
        picture = draw_face(points, crop.size, self.style.distance)
        image = self.style.behind if self.style.behind is not None else image
        if self.style.edges is not None and image is not None:
            edges = canny(image, *self.style.edges)[0].numpy()
            picture[0] = np.maximum(picture[0], np.where(head_mask(points, crop.size), 0, edges))
        return torch.from_numpy(picture)


class Faces(SourceSequence):
    """The faces of a sequence.

    Args:
        track: float32 (T, 68, 2), NaN where missing.
        style: how they are drawn.
        gap: `data.face_gap`.
        damaged: by frame what is wrong with its file.
        size: (h, w) that frames can be taken to have where there is no picture; None: that is not known.
    """

    def __init__(
        self,
        track: np.ndarray,
        style: Style,
        gap: int = 0,
        damaged: Mapping[int, str] = MappingProxyType({}),
        size: tuple[int, int] | None = None,
    ) -> None:
        self.given, self.style, self.gap, self.damaged, self.size = track, style, gap, dict(damaged), size
        self.track = bridge(track, gap)
        self._boxes: dict[tuple[tuple[int, int], tuple[int, int]], Box | None] = {}

    def frame(self, index: int, alike: Alike) -> FaceSource:
        if index in self.damaged:
            raise BadFileError(self.damaged[index])
        return FaceSource(self.track[index], self.style, self.size)

    def gaps(self) -> Gaps:
        has = found(self.track)
        has[list(self.damaged)] = True  # reading them says what is wrong
        return Gaps("face", has, int((has & ~found(self.given)).sum()) - len(self.damaged), f"data.face_gap={self.gap}")

    def part(self, start: int, stop: int) -> Faces:
        damaged = {index - start: text for index, text in self.damaged.items() if start <= index < stop}
        part = Faces(self.given[start:stop], self.style, self.gap, damaged, self.size)
        part.track = self.track[start:stop]  # what was bridged from frames that are in another part now
        return part

    def framing(self, indices: Sequence[int], frame: tuple[int, int], resolution: tuple[int, int]) -> Box | None:
        """The sequence's box, so that training shows what generation will; frames in which the face is not wholly
        within it have one of their own."""
        whole, some = self._box(frame, resolution), self.track[list(indices)]
        own = whole is not None and len(some) < len(self.track) and outside(some, whole) and found(some).any()
        return face_box(some, frame, resolution) if own else whole

    def _box(self, frame: tuple[int, int], resolution: tuple[int, int]) -> Box | None:
        """Of all frames; kept, since every clip asks for it."""
        key = frame, resolution
        if key not in self._boxes:
            self._boxes[key] = face_box(self.track, frame, resolution) if found(self.track).any() else None
        return self._boxes[key]

    def leaving(self, box: Box) -> int:
        return outside(self.track, box)

    def fitted(self, proportions: Any, frame: FrameSize) -> Faces:
        """The faces on other proportions, of `face_proportions`."""
        fit = self.part(0, len(self.track))
        neutral = neutral_face(self.track[_spread(len(self.track))])
        fit.track = fit_proportions(self.track, neutral, np.array(proportions, np.float64))
        fit.size = None if self.size is None else _enough(fit.track)
        return fit

    def carried(self, moves: HeadMoves) -> Faces:
        moved = self.part(0, len(self.track))
        moved.track = moves.of(self.track).astype(self.track.dtype)
        return moved

    def before(self, picture: Tensor) -> Faces:
        """The faces before the edges of a picture, uint8 (3, H, W) of the crop's resolution."""
        shown = self.part(0, len(self.track))
        shown.style = replace(self.style, behind=picture)
        return shown


def open_faces(entry: SourceSpec, files: Sequence[Path | None], config: Vid2VidConfig) -> Faces:
    """`face:` of one sequence: who was found there is followed, short gaps are bridged.

    Raises:
        BadFileError, DataError: see `read_people`; with data.on_bad_file=skip a file that cannot be decoded is a frame
            without a face.
    """
    data = config.data
    edges = (data.edge_low, data.edge_high) if data.face_background is FaceBackground.edges else None
    track, damaged = _read(tuple(None if path is None else stamped(path) for path in files))
    if data.on_bad_file is OnBadFile["skip"]:
        for text in damaged.values():
            left_out(BadFileError(text), skip=True)
        damaged = {}
    size = _enough(track) if data.crop is CropKind.face else None
    return Faces(track, Style(data.face_distance, edges), data.face_gap, damaged, size)


def face_proportions(sequences: Sequence[Faces], frames: Sequence[FrameSize]) -> list[list[float | None]] | None:
    """The neutral face of all frames of some sequences (`neutral_face`), as plain numbers; None: there are no eyes."""
    track = np.concatenate([faces.track for faces in sequences])
    neutral = neutral_face(track[_spread(len(track))])
    if np.isnan(neutral).all():
        return None
    return [[None if np.isnan(value) else round(float(value), 5) for value in point] for point in neutral]


def _enough(track: np.ndarray) -> tuple[int, int] | None:
    """(h, w) of frames in which the square around each face has room to the right and below: a face's width farther
    than any point. What is shown of them is that square, so how much farther they go does not matter."""
    points = track[found(track)]
    if not len(points):
        return None
    width = float((np.nanmax(points[..., 0], axis=1) - np.nanmin(points[..., 0], axis=1)).max())
    right, bottom = np.ceil(np.nanmax(points, axis=(0, 1)) + width + 1).astype(int).tolist()
    return bottom, right


def _spread(frames: int) -> np.ndarray:
    return np.unique(np.linspace(0, frames - 1, min(frames, _KEPT)).round().astype(int))


@cache
def _read(files: tuple[Stamped | None, ...]) -> tuple[np.ndarray, dict[int, str]]:
    """The track of a sequence's files, and what is wrong with some of them. Kept: every split and stage of a run asks
    for the same."""
    every = followed(files, unit="file", what="faces") if len(files) > _MANY else files
    frames: list[list[Person]] = []
    damaged: dict[int, str] = {}
    for number, file in enumerate(every):
        people: list[Person] = []
        if file is not None:
            try:
                people = read_people(read_bytes(file[0]), file[0])
            except BadFileError as error:
                damaged[number] = str(error)
        frames.append(people)
    return face_track(frames), damaged
