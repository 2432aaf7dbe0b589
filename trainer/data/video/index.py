"""The index of a video file: times, checksums, damage and novelty of every frame, from decoding it once.

The index is the definition of a file's frames: a full decode from the start, which is what FFmpeg's own tool gives.
Reading at random (`read.py`) is checked against it frame by frame, so seeking may be as imprecise as it likes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np

from trainer.data.pictures.files import BadFileError
from trainer.data.video.cuts import CutDetector
from trainer.data.video.decode import REMEDY, Loss, Mark, OpenVideo, fingerprint, picture
from trainer.data.video.times import Times, frame_times

logger = logging.getLogger(__name__)

NO_STAMP = np.iinfo(np.int64).min
SEEKS = ("pts", "dts", "bytes")  # by which time stamp, or byte, a restart point is found; tried in this order
CORRUPT, LOST, RESIZED, INTERLACED, HDR = 1, 2, 4, 8, 16  # flags of frames
_HDR_CURVES = (16, 18)  # PQ and HLG, by the numbers of ITU-T H.273
_END = 16  # damage so close to the end, in frames, is where the file was cut off: the deepest reordering
_PROBED = (0.25, 0.6, 0.95)  # places, as shares of all restart points, at which ways of seeking are tried
_SEARCHED = 40  # frames after a seek among which the one looked for must be

Progress = Callable[[int], None]  # gets the bytes read since the last call


@dataclass(frozen=True, eq=False)
class VideoIndex:
    """The frames of a video file, numbered as a full decode gives them.

    Attributes:
        key: of the file and of how it is read; for the flow cache.
        stamps: int64 (N,) presentation time stamps in units of the stream, `NO_STAMP` where there is none.
        places: int64 (N,) bytes at which their packets lie.
        prints: uint32 (N,) checksums of their pixels.
        flags: uint8 (N,) CORRUPT: the decoder calls the frame damaged; LOST: data before it did not decode; RESIZED:
            another size than the frame before; INTERLACED; HDR: its numbers are not those of ordinary screens.
        novelty: float16 (N,) how much of a frame is new against the one before, 0..1, where it may be a cut; else 0.
        restarts: int64 (R, 4) key frames: number, pts, dts, byte position of the packet.
        seek: the one of `SEEKS` that lands on them; "" where none does.
        times: when they are shown.
        size: (h, w) of the first frame, upright, with square pixels.
        pixel_aspect: width of a pixel over its height.
        cut_off: FFmpeg's words about what it could not read at the end of the file; "" where all was well.
        complete: False where only the beginning was asked for.
    """

    key: str
    stamps: np.ndarray
    places: np.ndarray
    prints: np.ndarray
    flags: np.ndarray
    novelty: np.ndarray
    restarts: np.ndarray
    seek: str
    times: Times
    size: tuple[int, int]
    pixel_aspect: float
    cut_off: str = ""
    complete: bool = True

    @property
    def count(self) -> int:
        """Frames."""
        return len(self.stamps)

    @property
    def fps(self) -> float:
        """Frames per second on average."""
        return self.times.fps

    def usable(self) -> tuple[int, int]:
        """The frames [first, stop) that are left when a cut-off beginning or end is taken away."""
        damaged = (self.flags & CORRUPT).astype(bool)
        whole = (~damaged).nonzero()[0]
        if not len(whole):
            return 0, 0
        first, stop = int(whole[0]), int(whole[-1]) + 1
        late = damaged[max(first, self.count - _END) : stop].nonzero()[0]
        return (first, max(first, self.count - _END) + int(late[0])) if len(late) and self.complete else (first, stop)

    def damage(self) -> list[int]:
        """Usable frames that are damaged, or before which some are missing because they did not decode."""
        first, stop = self.usable()
        return [first + int(i) for i in (self.flags[first:stop] & (CORRUPT | LOST)).nonzero()[0] if i]

    def borders(self, threshold: float | None) -> list[int]:
        """Usable frames at which another sequence begins: cuts, jumps of the clock, another size, lost frames.

        Args:
            threshold: novelty from which on a frame is the first after a cut; None: cuts are not looked at.
        """
        first, stop = self.usable()
        begins = (self.flags & (LOST | RESIZED)).astype(bool)
        if threshold is not None:
            begins |= self.novelty.astype(np.float32) >= threshold
        begins[list(self.times.breaks)] = True
        return [int(i) for i in begins.nonzero()[0] if first < i < stop]

    def cuts(self, threshold: float | None) -> list[int]:
        """Usable frames that are the first after a cut."""
        first, stop = self.usable()
        if threshold is None:
            return []
        return [int(i) for i in (self.novelty.astype(np.float32) >= threshold).nonzero()[0] if first < i < stop]


def build_index(
    path: Path,
    key: str,
    threads: int = 1,
    frames: int | None = None,
    seconds: float = 0.0,
    progress: Progress = lambda count: None,
) -> VideoIndex:
    """Decode a file and write down what comes.

    Args:
        path: the file.
        key: see `VideoIndex`.
        threads: of the decoder. Damaged files are decoded again with one, which loses nothing that can be saved.
        frames, seconds: stop when both so many frames and so much time have been seen; frames=None: at the end.
        progress: called now and then.
    Raises:
        BadFileError: not a video, or no frame in it can be decoded.
    """
    pass_ = _Pass(path)
    pass_.run(threads, frames, seconds, progress)
    if threads > 1 and (pass_.failed or any(flag & CORRUPT for flag in pass_.flags)):
        pass_ = _Pass(path)
        pass_.run(1, frames, seconds, lambda count: None)
    if not pass_.stamps:
        reason = f" ({pass_.reasons[0]})" if pass_.reasons else ""
        raise BadFileError(f"{path}: no frame of this video can be decoded{reason}. {REMEDY}")
    return pass_.index(key)


class _Pass:
    """One decode of a file from the start."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stamps: list[int | None] = []
        self.places: list[int] = []
        self.prints: list[int] = []
        self.flags: list[int] = []
        self.restarts: list[tuple[int, int, int, int]] = []
        self.losses: list[Loss] = []
        self.reasons: list[str] = []
        self.cuts = CutDetector()
        self.last: int | None = None
        self.complete, self.cut_off, self.failed = False, "", 0

    def run(self, threads: int, frames: int | None, seconds: float, progress: Progress) -> None:
        with OpenVideo(self.path, threads) as video:
            self.unit = video.stream.time_base or Fraction(1, 1)
            self.stated, self.coded = video.rate, video.coded_rate
            self.broadcast = "mpegts" in video.container.format.name or video.container.format.name == "mpeg"
            size, reported = None, 0
            for frame in video.frames():
                flags = CORRUPT * frame.is_corrupt | INTERLACED * frame.interlaced_frame
                flags |= HDR * (frame.color_trc in _HDR_CURVES)
                if size is None:
                    self.pixel_aspect = video.pixel_aspect
                    height, width = picture(frame, self.pixel_aspect).shape[1:]
                    self.size = (height, width)
                elif size != (frame.width, frame.height):
                    flags |= RESIZED
                size = (frame.width, frame.height)
                self._restart(frame.opaque, frame.key_frame)
                self.stamps.append(frame.pts)
                self.places.append(frame.opaque.position if isinstance(frame.opaque, Mark) else 0)
                self.prints.append(fingerprint(frame))
                self.flags.append(flags)
                self.cuts.add(frame)
                self.last = frame.duration or None
                if video.position > reported + (1 << 20):
                    progress(video.position - reported)
                    reported = video.position
                if frames is not None and len(self.stamps) >= frames and self._seconds() >= seconds:
                    break
            else:
                self.complete = True
            # What fails at the very end is where the file was cut off: nothing is missing between frames.
            self.losses = [loss for loss in video.losses if loss.packet < video.whole]
            late = [loss.reason for loss in video.losses if loss.packet > video.whole]
            self.cut_off = video.broken or (late[0] if late else "")
            self.failed = video.failed
            self.reasons = [loss.reason for loss in video.losses]
        progress(max(0, self.path.stat().st_size - reported))

    def _restart(self, mark: object, key: bool) -> None:
        if key and self.stamps and isinstance(mark, Mark):
            stamps = (NO_STAMP if stamp is None else stamp for stamp in (mark.pts, mark.dts))
            self.restarts.append((len(self.stamps), *stamps, mark.position))  # type: ignore[arg-type]

    @property
    def _rate(self) -> Fraction | None:
        """Where no frame has a stamp the container is a bare stream, and what it states is FFmpeg's 25."""
        return self.stated if any(stamp is not None for stamp in self.stamps) else self.coded

    def _seconds(self) -> float:
        known = [stamp for stamp in (self.stamps[0], self.stamps[-1]) if stamp is not None]
        if len(known) == 2:
            return float((known[1] - known[0]) * self.unit)
        return len(self.stamps) / float(self.coded or 25)

    def index(self, key: str) -> VideoIndex:
        times = frame_times(self.stamps, self.unit, self._rate, self.last, self.broadcast)
        stamps = np.array([NO_STAMP if stamp is None else stamp for stamp in self.stamps], np.int64)
        flags = np.array(self.flags, np.uint8)
        for loss in self.losses:
            where = self._missing(loss, stamps)
            if 0 < where < len(flags):
                flags[where] |= LOST
        places, prints = np.array(self.places, np.int64), np.array(self.prints, np.uint32)
        restarts = np.array(self.restarts, np.int64).reshape(-1, 4)
        seek = _way_to_seek(self.path, restarts, prints) if self.complete else ""
        novelty = self.cuts.finish()
        return VideoIndex(
            key, stamps, places, prints, flags, novelty, restarts, seek, times, self.size, self.pixel_aspect,
            self.cut_off, self.complete,
        )  # fmt: skip

    def _missing(self, loss: Loss, stamps: np.ndarray) -> int:
        """The frame before which the lost one would have come."""
        if loss.pts is None or (stamps == NO_STAMP).any() or (np.diff(stamps) <= 0).any():
            return loss.after
        return int(np.searchsorted(stamps, loss.pts))


def _way_to_seek(path: Path, restarts: np.ndarray, prints: np.ndarray) -> str:
    """The one of `SEEKS` that lands on most of some restart points spread over the file; "" where none ever does."""
    if not len(restarts):
        return ""
    places = sorted({round(share * (len(restarts) - 1)) for share in _PROBED})
    best, most = "", 0
    for way in SEEKS:
        landed = sum(_lands(path, restarts[place], prints, way) for place in places)
        if landed > most:
            best, most = way, landed
        if landed == len(places):
            break
    return best


def _lands(path: Path, restart: np.ndarray, prints: np.ndarray, way: str) -> bool:
    with OpenVideo(path) as video:
        if not seek(video, restart, way):
            return False
        return any(fingerprint(frame) == prints[restart[0]] for frame in islice(video.frames(), _SEARCHED))


def seek(video: OpenVideo, restart: np.ndarray, way: str) -> bool:
    """Go to a restart point; False where the file cannot be sought in that way."""
    from av.error import FFmpegError

    target = int(restart[1 + SEEKS.index(way)])
    if target == NO_STAMP:
        return False
    try:
        if way == "bytes":
            video.container.seek(target, stream=video.stream, unsupported_byte_offset=True)
        else:
            video.container.seek(target, stream=video.stream, backward=True, any_frame=False)
    except (FFmpegError, OverflowError):
        return False
    return True
