"""Videos on disk, frame by frame: H.264 (.mp4 .m4v .mov .mkv), VP9 (.webm), .gif, or a folder of PNGs.

Frames are uint8 RGB, (H, W, 3), as numpy arrays or tensors. Nothing unfinished has its final name; what was written
before something failed is kept under another one where that is asked for.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from trainer.errors import ConfigError, DataError
from trainer.files import check_folder, check_place

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Format:
    """How frames are stored under a suffix."""

    encoder: str
    options: dict[str, str]
    container: dict[str, str] = field(default_factory=dict)
    even: bool = False  # sides must be even


# Fragments of a second, written out at once: what a killed process leaves can be played. At the end MP4 is made an
# ordinary, unfragmented file.
_MP4 = {"movflags": "hybrid_fragmented", "frag_duration": "1000000", "flush_packets": "1"}
_MATROSKA = {"cluster_time_limit": "1000", "flush_packets": "1"}
_H264 = {"crf": "18", "preset": "veryfast"}
_VP9 = {"crf": "24", "b": "0", "deadline": "good", "cpu-used": "5", "row-mt": "1"}
_FORMATS = {
    ".mp4": _Format("libx264", _H264, _MP4, even=True),
    ".m4v": _Format("libx264", _H264, _MP4, even=True),
    ".mov": _Format("libx264", _H264, _MP4, even=True),
    ".mkv": _Format("libx264", _H264, _MATROSKA, even=True),
    ".webm": _Format("libvpx-vp9", _VP9, _MATROSKA),
    ".gif": _Format("gif", {}),
}
_EXACT = (
    0x2 | 0x4000 | 0x40000
)  # libswscale: bilinear, full chroma input, accurate rounding; PyAV 17 has no names for all
_GIF_FASTEST = 50.0  # GIF counts hundredths of a second, and viewers take less than two of them for ten
SUFFIXES = tuple(_FORMATS)


def check_out(path: Path | str, fps: float | None = None) -> None:
    """Raise ConfigError unless a video can be written to a path: a known suffix, or none for a folder of PNGs.

    Nothing is written. To be called before the work whose result goes there.

    Args:
        path: the file or folder to be.
        fps: frames per second, where they are known yet.
    """
    path = Path(path)
    _check_rate(path, fps)
    suffix = path.suffix.lower()
    if suffix and suffix not in _FORMATS:
        hint = " A folder (no suffix) gets numbered PNGs." if suffix in (".png", ".jpg", ".jpeg") else ""
        raise ConfigError(
            f"out={path}: videos are written as {', '.join(SUFFIXES)}, or as PNGs into a folder; give a path ending in "
            f".mp4.{hint}"
        )
    if suffix:
        import av

        check_place("out", path)
        with contextlib.suppress(ValueError):
            av.Codec(_FORMATS[suffix].encoder, "w")
            return
        raise ConfigError(f"out={path}: the PyAV installed has no encoder {_FORMATS[suffix].encoder}; end it in .mp4")
    check_frames_folder(path)
    check_folder("out", path, path.parent)  # it is replaced as a whole


def _check_rate(path: Path, fps: float | None) -> None:
    if path.suffix.lower() == ".gif" and fps is not None and fps > _GIF_FASTEST:
        raise ConfigError(f"fps={fps:g}: a GIF has at most {_GIF_FASTEST:g} frames/s; set fps=50, or write .mp4")


def check_frames_folder(path: Path) -> None:
    """Raises DataError where a folder of numbered PNGs would replace something else."""
    if path.exists() and (not path.is_dir() or any(p.suffix != ".png" for p in path.iterdir())):
        raise DataError(f"{path} is in the way and holds other things than frames; give another out=")


def as_frames(image: Any, dims: tuple[int, ...]) -> np.ndarray:
    """A picture or video as an array, uint8 (..., H, W, 3) with one of the given numbers of dimensions."""
    array = image.detach().cpu().numpy() if isinstance(image, Tensor) else np.asarray(image)
    if array.dtype != np.uint8 or array.ndim not in dims or array.shape[-1] != 3:
        raise ValueError(f"expected uint8 of shape (..., H, W, 3), got {array.dtype} {array.shape}")
    return array


class _Output:
    """Something written under a temporary name, and renamed when its `with` block ends well.

    Attributes:
        path: the final name.
        frames: written so far.
        kept: where unfinished work was left, or None.
    """

    def __init__(self, path: Path, keep: bool) -> None:
        self.path, self.frames, self._keep = path, 0, keep
        self.kept: Path | None = None
        if keep:
            self._temporary = _free(path.with_name(f"{path.stem}.partial{path.suffix}"))
        else:
            self._temporary = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")

    def _finish(self) -> None:
        """Complete the file or folder under its temporary name."""
        raise NotImplementedError

    def _put(self) -> None:
        """Give it its final name."""
        os.replace(self._temporary, self.path)

    def _remove(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._temporary.unlink()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        done = False
        try:
            if kind is not None:
                with contextlib.suppress(Exception):  # the first error is the one to tell
                    self._finish()
                return
            with self._explained():
                self._finish()
                if self.frames:
                    self._put()
            if not self.frames:
                raise DataError(f"no frames came for {self.path}: the source is empty")
            done = True
        finally:
            if self._keep and self.frames and not done and self._temporary.exists():
                self.kept = self._temporary
                _log.warning("%s was not finished: %d frames are in %s", self.path, self.frames, self.kept)
            else:
                self._remove()

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        from av.error import FFmpegError

        try:
            yield
        except (OSError, FFmpegError) as error:
            raise DataError(f"cannot write {self.path}: {error}. Free some space or choose another place") from error


class VideoWriter(_Output):
    """Streams frames into a video file, holding one frame at a time.

    H.264 and VP9 are 4:2:0 with the numbers and tags of BT.709, limited range. H.264 in 4:2:0 needs even sizes: an odd
    one is padded by repeating the last row or column, for players take neither 4:4:4 nor odd crops.

    Written under a temporary name and renamed when the ``with`` block ends without an exception.

    Args:
        path: the file; the suffix picks container and codec.
        fps: frames per second.
        size: (height, width) of the frames, in pixels.
        keep: where the block fails, leave what was written as `NAME.partial.SUFFIX`, playable, and log where.

    Raises:
        DataError: the suffix is unknown, writing fails (no space left), or the block ends without any frame.
        ConfigError: more frames per second than a GIF can have.
    """

    def __init__(self, path: Path | str, fps: float, size: tuple[int, int], keep: bool = False) -> None:
        super().__init__(Path(path), keep)
        self.size = (int(size[0]), int(size[1]))
        self._fps = Fraction(fps).limit_denominator(1001)
        self._format = _FORMATS.get(self.path.suffix.lower())
        self._container: Any = None
        _check_rate(self.path, fps)

    def __enter__(self) -> VideoWriter:
        import av

        if self._format is None:
            raise DataError(
                f"cannot write a video to {self.path}: known are {', '.join(SUFFIXES)}; give a path ending in .mp4"
            )
        height, width = self.size
        self._pad = (height % 2, width % 2) if self._format.even else (0, 0)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._container = av.open(f"file:{self._temporary.absolute()}", "w", options=self._format.container)
        except (OSError, ValueError) as error:
            raise DataError(
                f"cannot write a video to {self.path} ({error}); give a writable path ending in .mp4"
            ) from error
        stream = self._container.add_stream(self._format.encoder, rate=self._fps, options=self._format.options)
        stream.width, stream.height = width + self._pad[1], height + self._pad[0]
        if self._format.encoder == "gif":
            stream.pix_fmt = "pal8"
        else:
            stream.pix_fmt = "yuv420p"
            context = stream.codec_context
            context.color_range, context.colorspace = 1, 1  # limited, BT.709: the numbers of ITU-T H.273
            context.color_primaries, context.color_trc = 1, 1
        self._stream = stream
        return self

    def write(self, frame: Tensor | np.ndarray) -> None:
        """Append one frame, uint8 (H, W, 3)."""
        array = as_frames(frame, (3,))
        if array.shape[:2] != self.size:
            raise ValueError(f"{self.path}: a frame is {array.shape[:2]}, the video is {self.size}")
        if any(self._pad):
            array = np.pad(array, ((0, self._pad[0]), (0, self._pad[1]), (0, 0)), mode="edge")
        picture = _indexed(array) if self._stream.pix_fmt == "pal8" else _bt709(array)
        picture.pts, picture.time_base = self.frames, 1 / self._fps
        with self._explained():
            self._container.mux(self._stream.encode(picture))
        self.frames += 1

    def _finish(self) -> None:
        try:
            if self.frames:
                self._container.mux(self._stream.encode(None))
        finally:
            self._container.close()


class PictureFolder(_Output):
    """Numbered PNGs that appear under their folder's name all at once, when the ``with`` block ends well.

    Args:
        path: the folder; an earlier one that holds nothing but PNGs is replaced.
        keep: where the block fails, leave what was written as `NAME.partial`, and log where.

    Raises:
        DataError: other things are in the way, or nothing can be written there.
    """

    def __init__(self, path: Path | str, keep: bool = False) -> None:
        super().__init__(Path(path), keep)

    def __enter__(self) -> PictureFolder:
        check_frames_folder(self.path)
        try:
            self._temporary.mkdir(parents=True)
        except OSError as error:
            raise DataError(f"cannot write frames beside {self.path} ({error}); give another out=") from error
        return self

    def write(self, frame: Tensor | np.ndarray) -> None:
        """Append one frame, uint8 (H, W, 3)."""
        with self._explained():
            Image.fromarray(as_frames(frame, (3,))).save(self._temporary / f"{self.frames:06d}.png")
        self.frames += 1

    def _finish(self) -> None:
        """Every picture is complete already."""

    def _put(self) -> None:
        if not self.path.exists():
            os.replace(self._temporary, self.path)
            return
        earlier = _free(self.path.with_name(f".{self.path.name}.{os.getpid()}.old"))
        os.replace(self.path, earlier)  # of an earlier run with the same out=
        try:
            os.replace(self._temporary, self.path)
        except OSError:
            os.replace(earlier, self.path)
            raise
        shutil.rmtree(earlier, ignore_errors=True)

    def _remove(self) -> None:
        shutil.rmtree(self._temporary, ignore_errors=True)


def video_output(
    path: Path | str, fps: float, size: tuple[int, int], keep: bool = False
) -> VideoWriter | PictureFolder:
    """A writer for a path: a folder of PNGs where it has no suffix, else a video."""
    return VideoWriter(path, fps, size, keep) if Path(path).suffix else PictureFolder(path, keep)


def write_video(path: Path | str, frames: Tensor | np.ndarray, fps: float) -> None:
    """Write a whole video, uint8 (T, H, W, 3)."""
    array = as_frames(frames, (4,))
    with VideoWriter(path, fps, (array.shape[1], array.shape[2])) as writer:
        for frame in array:
            writer.write(frame)


def _bt709(array: np.ndarray) -> Any:
    """RGB as yuv420p: BT.709, limited range."""
    import av
    from av.video.reformatter import ColorRange, Colorspace

    picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(array), format="rgb24")
    return picture.reformat(
        format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG, interpolation=_EXACT
    )


def _indexed(array: np.ndarray) -> Any:
    """RGB as indices into a palette of its own."""
    import av

    reduced = Image.fromarray(array).quantize(256)
    palette = np.full((256, 4), 255, np.uint8)  # alpha, R, G, B
    colours = np.array(reduced.getpalette() or [], np.uint8).reshape(-1, 3)
    palette[: len(colours), 1:] = colours
    return av.VideoFrame.from_ndarray((np.asarray(reduced), palette), format="pal8")  # type: ignore[arg-type]


def _free(path: Path) -> Path:
    """The path, or where that is taken the first of NAME-2, NAME-3, ... that is not."""
    number, free = 2, path
    while free.exists():
        free = path.with_name(f"{path.stem}-{number}{path.suffix}")
        number += 1
    return free
