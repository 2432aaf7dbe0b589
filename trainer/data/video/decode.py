"""Video files decoded from the start to the end: every frame that FFmpeg gives, once, in its order.

Nothing here is taken from what a container promises. Streams are chosen as players choose them, a packet that does not
decode is noted and passed over as FFmpeg's own tool does, and the decoder is emptied at the end.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from trainer.data.pictures.files import BadFileError
from trainer.data.pictures.guarded import check_pixels
from trainer.untrusted.limits import max_pixels

if TYPE_CHECKING:
    from av import Packet, VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream

logger = logging.getLogger(__name__)

REMEDY = "Replace it, or set data.on_bad_file=skip."
_NO_FILM = ("attached_pic", "timed_thumbnails", "still_image")  # covers and previews, which are no film
_STILLS = ("mjpeg", "png", "bmp", "gif", "tiff", "webp")
_BROADCAST = (".ts", ".m2ts", ".mts")
# FFmpeg goes by a file's content, and some formats are lists of other files or of addresses (HLS, DASH, concat, SDP),
# which it would read. Only formats that hold their own pictures are tried, and no protocol but that of files.
_FORMATS = (
    "mov", "matroska", "avi", "mpegts", "mpegtsraw", "mpeg", "mpegvideo", "m4v", "asf", "asf_o", "flv", "live_flv",
    "kux", "ogg", "mxf", "mjpeg", "mjpeg_2000", "mpjpeg", "h261", "h263", "h264", "hevc", "vvc", "vc1", "ivf", "obu",
    "av1", "yuv4mpegpipe", "dv", "gif", "apng", "nut", "rm", "wtv", "gxf", "dhav", "ty", "cavsvideo", "dirac", "nsv",
    "png_pipe", "jpeg_pipe", "gif_pipe", "webp_pipe", "bmp_pipe", "tiff_pipe",
)  # fmt: skip
_OPTIONS = {"protocol_whitelist": "file", "format_whitelist": ",".join(_FORMATS)}
_ODDEST_PIXEL = 8  # a pixel wider or higher than this many times its other side is a mistake of the file


@dataclass(eq=False)
class Mark:
    """Where in its file a frame's packet lies; it goes through the decoder with it.

    Attributes:
        pts, dts: the packet's time stamps in units of the stream; None where it has none.
        position: byte in the file at which it begins, or at which an earlier packet does where it does not say.
    """

    pts: int | None
    dts: int | None
    position: int


@dataclass(frozen=True)
class Loss:
    """A packet that could not be decoded.

    Attributes:
        after: frames that had come out before.
        pts: its time stamp, if it has one.
        reason: FFmpeg's words.
        packet: its number among the packets.
    """

    after: int
    pts: int | None
    reason: str
    packet: int


class OpenVideo:
    """An open video file. Use it in a `with` block.

    Attributes:
        container, stream: PyAV's.
        losses: packets that did not decode so far.
        position: byte of the file up to which it has been read.
        whole: number of the last packet that did decode.
        failed: how often the decoder reported an error; with several threads not always for a certain packet.
        broken: why reading ended before the end of the file, in FFmpeg's words; "" where it did not.

    Args:
        path: the file.
        threads: of the decoder; more than one decodes frames ahead, which loses frames of damaged files.
    Raises:
        BadFileError: not a video, or nothing in it that can be decoded.
    """

    container: InputContainer
    stream: VideoStream

    def __init__(self, path: Path, threads: int = 1) -> None:
        self.path, self.threads = path, threads
        self.losses: list[Loss] = []
        self.position, self.whole, self.broken, self.failed = 0, -1, "", 0

    def __enter__(self) -> OpenVideo:
        import av
        from av.error import FFmpegError

        if self.path.exists() and not self.path.is_file():  # FFmpeg waits at a pipe for whoever writes to it
            raise BadFileError(f"{self.path}: is no file. Remove it, or set data.on_bad_file=skip.")
        name = f"file:{self.path.absolute()}"
        try:
            self.container = av.open(name, options=dict(_OPTIONS), metadata_errors="replace")
        except (PermissionError, FileNotFoundError) as error:
            raise BadFileError(f"{self.path}: cannot be read ({error.strerror}).") from error
        except FFmpegError as error:
            try:  # some kilobytes of MPEG-TS are too little to be recognised
                if self.path.suffix.lower() not in _BROADCAST:
                    raise
                self.container = av.open(name, format="mpegts", options=dict(_OPTIONS), metadata_errors="replace")
            except FFmpegError:
                raise not_decodable(self.path, error.strerror or str(error)) from error
        try:
            self.stream = film_stream(self.container, self.path)
            context = self.stream.codec_context
            check_pixels(context.height or 0, context.width or 0, self.path)
            # Frames may be larger than the header; FFmpeg counts them with rows filled up, and `picture` counts again.
            context.options = {"max_pixels": str(min(2 * max_pixels() + 2**16, 2**31 - 1))}
        except BaseException:
            self.container.close()
            raise
        self.stream.thread_type = "SLICE" if self.threads == 1 else "FRAME"
        self.stream.thread_count = self.threads
        self.stream.codec_context.copy_opaque = True
        return self

    def __exit__(self, *exc: object) -> None:
        self.container.close()

    @property
    def rate(self) -> Fraction | None:
        """Frames per second as the container has it, which may be wrong."""
        return self.stream.average_rate or self.stream.guessed_rate

    @property
    def coded_rate(self) -> Fraction | None:
        """Frames per second as far as the coded film tells; a bare stream (.h264, .hevc) has no other."""
        return self.stream.guessed_rate or self.stream.average_rate

    @property
    def pixel_aspect(self) -> float:
        """Width of a pixel over its height."""
        ratio = self.stream.sample_aspect_ratio or self.stream.codec_context.sample_aspect_ratio
        if not ratio or not 1 / _ODDEST_PIXEL <= ratio <= _ODDEST_PIXEL:
            return 1.0
        return float(ratio)

    def frames(self, skip_before: int = 0) -> Iterator[VideoFrame]:
        """All frames from where the file stands to its end; each has its packet's `Mark` as `opaque`.

        Args:
            skip_before: frames that no other one needs may be left out where packets lie before this byte.
        """
        from av.error import FFmpegError

        context = self.stream.codec_context
        count = 0
        for number, packet in enumerate(self._packets()):
            if packet is not None and packet.size:
                if packet.pos is not None and packet.pos >= 0:
                    self.position = packet.pos
                packet.opaque = Mark(packet.pts, packet.dts, self.position)
                context.skip_frame = "NONREF" if self.position < skip_before else "DEFAULT"
            try:
                decoded: list[Any] = context.decode(packet)
            except FFmpegError as error:
                self.failed += 1
                if packet is not None and packet.size:
                    self.losses.append(Loss(count, packet.pts, error.strerror or str(error), number))
                continue
            self.whole = number if packet is not None else self.whole
            count += len(decoded)
            yield from decoded

    def pictures(self) -> Iterator[Tensor]:
        """All frames from where the file stands to its end, as `picture` shows them and as large as the first.

        Yields:
            uint8 (3, h, w) RGB.
        """
        size = None
        for frame in self.frames():
            shown = picture(frame, self.pixel_aspect)
            size = size or (shown.shape[1], shown.shape[2])
            yield shown if shown.shape[1:] == size else picture(frame, size=size)

    def _packets(self) -> Iterator[Packet | None]:
        """The packets of the film, then None, which empties the decoder."""
        from av.error import FFmpegError

        try:
            for packet in self.container.demux(self.stream):
                if not packet.size:
                    break
                yield packet
        except FFmpegError as error:  # the file breaks off here
            self.broken = error.strerror or str(error)
        yield None


def film_stream(container: InputContainer, path: Path) -> VideoStream:
    """The stream that a player would show: no cover picture; the default one, else the first.

    A stream of still pictures beside others must be the one that FFmpeg finds the best, which has more frames.

    Raises:
        BadFileError: there is none, or FFmpeg here has no decoder for it.
    """
    from av.stream import Disposition

    covers = Disposition(0)
    for name in _NO_FILM:
        covers |= getattr(Disposition, name, 0)
    films = [s for s in container.streams.video if not s.disposition & covers]
    if not films:
        what = "only a cover picture" if container.streams.video else "no video stream"
        raise BadFileError(f"{path}: has {what}. Give a video file, or set data.on_bad_file=skip.")
    known = [s for s in films if s.codec_context is not None]
    if not known:
        raise BadFileError(
            f"{path}: has no video in a format that is known here. Convert it to H.264, or set data.on_bad_file=skip."
        )
    chosen = next((s for s in known if s.disposition & Disposition.default), known[0])
    if len(known) > 1 and chosen.codec_context.name in _STILLS:  # a cover that does not say that it is one
        best = container.streams.best("video")
        chosen = next((s for s in known if best is not None and s.index == best.index), chosen)
    return chosen


def not_decodable(path: Path, reason: str) -> BadFileError:
    """The error about a file that is no video or a damaged one."""
    return BadFileError(f"{path}: cannot be decoded, the file is damaged or not a video ({reason}). {REMEDY}")


def fingerprint(frame: VideoFrame) -> int:
    """A checksum (CRC-32) of a frame's pixels as decoded, by which it is known again after a seek."""
    value = 0
    for number, plane in enumerate(frame.planes):
        rows, pitch = plane.height, abs(plane.line_size)
        pixels = np.frombuffer(memoryview(plane), np.uint8)
        if pitch and rows * pitch <= pixels.size:  # what lies behind the last pixel of a row is no picture
            pixels = pixels[: rows * pitch].reshape(rows, pitch)[:, : _row_bytes(frame, number, plane, pitch)]
        value = zlib.crc32(np.ascontiguousarray(pixels).data, value)
    return value


def _row_bytes(frame: VideoFrame, number: int, plane: Any, pitch: int) -> int:
    """Bytes of a row of a plane that hold pixels; a little less where the format packs several bits."""
    format_ = frame.format
    if len(frame.planes) == 1:
        return min(pitch, plane.width * format_.padded_bits_per_pixel // 8)
    if format_.name == "pal8":
        return plane.width if number == 0 else pitch
    components = [c for c in format_.components if c.plane == number]
    return min(pitch, plane.width * sum((c.bits + 7) // 8 for c in components))


def picture(frame: VideoFrame, pixel_aspect: float = 1.0, size: tuple[int, int] | None = None) -> Tensor:
    """A frame as it is meant to be seen: square pixels, upright.

    Args:
        frame: as decoded.
        pixel_aspect: width of its pixels over their height; the shorter side is enlarged, so that nothing is lost.
        size: (h, w) of the result; None: as it comes.
    Returns:
        uint8 (3, h, w) RGB.
    """
    from av.video.reformatter import Interpolation

    transposed = _orientation(frame)[0]
    width, height = frame.width, frame.height
    if size is not None:
        height, width = size[::-1] if transposed else size
    elif pixel_aspect > 1:
        width = round(width * pixel_aspect)
    else:
        height = round(height / pixel_aspect)
    check_pixels(height, width, "a frame of the film")
    if (width, height) == (frame.width, frame.height):
        shown = frame.reformat(format="rgb24", threads=1)
    else:
        shown = frame.reformat(width, height, "rgb24", interpolation=Interpolation.BICUBIC, threads=1)
    return torch.from_numpy(np.ascontiguousarray(_upright(shown.to_ndarray(), frame).transpose(2, 0, 1)))


def _upright(pixels: np.ndarray, frame: VideoFrame) -> np.ndarray:
    """(h, w, 3) turned and mirrored as the frame's display matrix says."""
    transposed, flip_rows, flip_columns = _orientation(frame)
    pixels = pixels.swapaxes(0, 1) if transposed else pixels
    pixels = pixels[::-1] if flip_rows else pixels
    return pixels[:, ::-1] if flip_columns else pixels


def _orientation(frame: VideoFrame) -> tuple[bool, bool, bool]:
    """Whether to exchange rows and columns, and then which of them to reverse (one of the eight orientations)."""
    side = frame.side_data.get("DISPLAYMATRIX")
    if side is None or len(bytes(side)) < 36:
        return False, False, False
    # A pixel (x, y) is shown at (a x + c y, b x + d y), up to a shift; 16.16 fixed point in the machine's byte order.
    a, b, _, c, d = (int(value) for value in np.frombuffer(bytes(side), np.int32)[:5])
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return False, d < 0, a < 0
    return True, b < 0, c < 0
