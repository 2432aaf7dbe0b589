"""Frames of a video file by number, exactly: a seek is believed only when what it gives is what the index says.

A clip is reached from a key frame before it. Each frame that is returned is compared with its checksum in the index;
where it differs, the reader starts again further in front, at last from the beginning, where nothing is in doubt.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from trainer.data.pictures.files import BadFileError
from trainer.data.video.cache import file_key
from trainer.data.video.decode import REMEDY, Mark, OpenVideo, fingerprint, picture
from trainer.data.video.index import CORRUPT, VideoIndex, seek

if TYPE_CHECKING:
    from av import VideoFrame

logger = logging.getLogger(__name__)

_SEARCHED = 60  # frames after a seek among which a known one must be
_AGAIN = (0, 1, 3)  # restart points further in front that are tried before the beginning of the file


class FrameReader:
    """Reads the frames of one file.

    Args:
        path: the file.
        index: its index.
    """

    def __init__(self, path: Path, index: VideoIndex) -> None:
        self.path, self.index = path, index

    def read(self, requested: Iterable[int]) -> Iterator[tuple[int, Tensor]]:
        """Decode frames by number.

        Args:
            requested: frame numbers, ascending; one may come several times. Read lazily.
        Yields:
            (number, uint8 (3, h, w) RGB), upright, with square pixels, all of the size of the first frame.
        Raises:
            BadFileError: there is no such frame, or the file changed; names file and frame.
        """
        numbers = iter(requested)
        target = next(numbers, None)
        if target is None:
            return
        if file_key(self.path) != self.index.key:
            raise BadFileError(f"{self.path}: the file changed while it was in use. Start again.")
        attempt = 0
        while target is not None:
            if target >= self.index.count:
                raise BadFileError(
                    f"{self.path}: frame {target} of {self.index.count} cannot be decoded, the file is damaged or "
                    f"cut off. {REMEDY}"
                )
            restart = self._restart(target, attempt)
            attempt += 1
            for number, frame in self._from(restart, target):
                if number < target:
                    continue
                # From the beginning of the file there is nothing to doubt; elsewhere the checksum decides.
                if number > target or (restart is not None and fingerprint(frame) != self.index.prints[number]):
                    break
                attempt = 0
                image = self._image(frame, number)
                while target == number:
                    yield number, image
                    target = next(numbers, None)
                if target is None:
                    return
                if target < number:
                    raise ValueError(f"frame numbers must ascend, but {target} came after {number}")
            if restart is None:
                raise BadFileError(f"{self.path}: frame {target} of {self.index.count} cannot be decoded. {REMEDY}")
            logger.debug("%s: frame %d is not where a seek leads, attempt %d", self.path, target, attempt)

    def _image(self, frame: VideoFrame, number: int) -> Tensor:
        if self.index.flags[number] & CORRUPT:
            raise BadFileError(
                f"{self.path}: frame {number} is damaged. Replace the file, or set data.on_bad_file=skip."
            )
        image = picture(frame, self.index.pixel_aspect)
        if image.shape[1:] != self.index.size:  # a stream that changed its size: shown as large as before
            image = picture(frame, size=self.index.size)
        return image

    def _from(self, restart: np.ndarray | None, target: int) -> Iterator[tuple[int, VideoFrame]]:
        """(number, frame), ascending; frames before `target` may be left out. Ends where a seek leads astray."""
        with OpenVideo(self.path) as video:
            if restart is None:
                yield from enumerate(video.frames())
                return
            if not seek(video, restart, self.index.seek):
                return
            # No frame from the target on lies before this byte, so what lies there is only of use to others.
            needed = int(self.index.places[target:].min()) if self._places_tell else 0
            number = -1
            for searched, frame in enumerate(video.frames(skip_before=needed)):
                if number < 0:
                    number = self._landed(frame, int(restart[0]))
                    if number < 0 and searched > _SEARCHED:
                        return
                else:
                    number = self._next(number, frame)
                if number >= 0:
                    yield number, frame

    def _restart(self, target: int, attempt: int) -> np.ndarray | None:
        """The key frame to start from; None is the beginning of the file."""
        if not self.index.seek or attempt >= len(_AGAIN):
            return None
        usable = self.index.restarts[:, 0].searchsorted(target, side="right") - 1 - _AGAIN[attempt]
        return self.index.restarts[usable] if usable >= 0 else None

    def _landed(self, frame: VideoFrame, expected: int) -> int:
        """The number of the first frame that is recognised after a seek, or -1."""
        value = fingerprint(frame)
        if self.index.prints[expected] == value:
            return expected
        alike = (self.index.prints == value).nonzero()[0]
        if len(alike) > 1 and frame.pts is not None:
            alike = alike[self.index.stamps[alike] == frame.pts]
        return int(alike[0]) if len(alike) == 1 else -1

    def _next(self, number: int, frame: VideoFrame) -> int:
        """The number of the frame that came after frame `number`, where some may have been left out between."""
        if self._places_tell and isinstance(frame.opaque, Mark):
            soon = self.index.places[number + 1 : number + 1 + _SEARCHED] == frame.opaque.position
            if soon.any():
                return number + 1 + int(soon.argmax())
        return number + 1

    @cached_property
    def _places_tell(self) -> bool:
        """Whether each frame's packet has a place of its own; in MPEG-PS it has not."""
        return len(np.unique(self.index.places)) == self.index.count
