"""A film redrawn steadily: what it is whitened by are the statistics of many frames, not of each one alone.

The transform of a frame is a function of its pixels and of the content's moments. Moments that change from frame to
frame are what flickers; those of the whole film give one map for all frames.

Shapes: T frames, H x W pixels.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from trainer.data.pictures.decode import decode
from trainer.data.pictures.files import read_bytes
from trainer.data.video.decode import OpenVideo
from trainer.errors import DataError
from vit.stylize import Statistics
from vit.stylize.content import reduced, to_bytes, unit
from vit.stylize.levels import Style, Stylizer
from vit.stylize.transforms import Affine, Moments, merged

SAMPLED = 16  # frames of a film from which its statistics are taken, at least, where it has as many
Frames = Callable[[], Iterator[Tensor]]


def video_frames(path: Path, longest: int | None) -> Iterator[Tensor]:
    """Frames of a video file, uint8 (3, H, W), all of the first one's size.

    Raises:
        BadFileError: it is no video.
    """
    with OpenVideo(path) as video:
        for pixels in video.pictures():
            yield reduced(pixels, longest)


def frame_rate(path: Path) -> float:
    """Frames per second of a video file, as it says.

    Raises:
        DataError: it does not say.
    """
    with OpenVideo(path) as video:
        if not video.rate:
            raise DataError(f"content={path} does not say how many frames a second has: give fps=25")
        return float(video.rate)


def folder_frames(files: Iterable[Path], longest: int | None) -> Iterator[Tensor]:
    """Pictures of a folder as frames, uint8 (3, H, W).

    Raises:
        DataError: one that cannot be read, or of another size than the first.
    """
    size = None
    for file in files:
        pixels = reduced(decode(read_bytes(file), file), longest)
        size = size or pixels.shape
        if pixels.shape != size:
            raise DataError(
                f"{file} is {pixels.shape[1]}x{pixels.shape[2]}, the frames before it {size[1]}x{size[2]}: "
                "frames of a film must be of one size; give a folder of one film"
            )
        yield pixels


@dataclass
class Flicker:
    """How much more a film changes from frame to frame than the one it was drawn from.

    ``add`` pairs of frames in order; ``ratio`` is the mean absolute difference of successive frames, nothing warped,
    over that of the source. None: the source does not change.
    """

    source: float = 0.0
    drawn: float = 0.0
    _last: tuple[Tensor, Tensor] | None = field(default=None, repr=False)

    def add(self, source: Tensor, drawn: Tensor) -> None:
        """The next frame of both, uint8 (3, H, W)."""
        if self._last is not None:
            self.source += float((source.float() - self._last[0].float()).abs().mean())
            self.drawn += float((drawn.float() - self._last[1].float()).abs().mean())
        self._last = (source, drawn)

    @property
    def ratio(self) -> float | None:
        """1: it changes as the source does."""
        return self.drawn / self.source if self.source else None


def sample(frames: Iterable[Tensor], least: int = SAMPLED) -> tuple[list[Tensor], int]:
    """Frames at even distances, ``least`` to twice as many (or all of a shorter film), and how many there are."""
    kept: list[Tensor] = []
    step, count = 1, 0
    for frame in frames:
        if count % step == 0:
            kept.append(frame)
            if len(kept) == 2 * least:
                kept, step = kept[::2], 2 * step
        count += 1
    return kept, count


def film_maps(stylizer: Stylizer, frames: Iterable[Tensor], style: Style) -> dict[int, Affine]:
    """One map for each level, from the statistics of some frames, uint8 (3, H, W), redrawn level by level."""
    device = stylizer.device
    held = list(frames)  # bytes, then in half precision, for there are many
    maps: dict[int, Affine] = {}

    def images() -> Iterator[Tensor]:
        return (each.to(device).float() if each.dtype is torch.half else unit(each, device) for each in held)

    for level in stylizer.levels:
        own = merged([stylizer.moments(image, level) for image in images()])
        maps[level] = change = stylizer.map(level, own, style)
        if level != stylizer.levels[-1]:
            held = [stylizer.redraw(image, level, change).half().cpu() for image in images()]
    return maps


def redrawn(
    stylizer: Stylizer, frames: Frames, style: Style, statistics: Statistics, window: int, sampled: list[Tensor]
) -> Iterator[Tensor]:
    """The frames of a film in a style, uint8 (3, H, W) on the CPU, of their own size.

    Args:
        frames: gives them from the beginning.
        statistics: of what the film's are taken.
        window: frames around each, an odd number; of ``Statistics.window``.
        sampled: frames of ``sample``; of ``Statistics.film``.
    """
    images = (unit(frame, stylizer.device) for frame in frames())
    if statistics is Statistics.film:
        maps = film_maps(stylizer, sampled, style)
        for image in images:
            for level in stylizer.levels:
                image = stylizer.redraw(image, level, maps[level])
            yield to_bytes(image)
        return
    reach = window // 2 if statistics is Statistics.window else 0
    for level in stylizer.levels:
        images = _by_window(stylizer, images, level, style, reach)
    yield from map(to_bytes, images)


def _by_window(stylizer: Stylizer, images: Iterable[Tensor], level: int, style: Style, reach: int) -> Iterator[Tensor]:
    """One level of every frame, by the moments of ``reach`` frames to either side of it."""
    held: deque[tuple[Tensor, Moments]] = deque()  # around the next frame to be drawn
    before = 0  # of these lie before it
    for image in images:
        held.append((image, stylizer.moments(image, level)))
        if len(held) > before + reach:
            yield _drawn(stylizer, held, before, level, style)
            before += 1
            if before > reach:
                held.popleft()
                before -= 1
    while before < len(held):
        yield _drawn(stylizer, held, before, level, style)
        before += 1
        if before > reach:
            held.popleft()
            before -= 1


def _drawn(stylizer: Stylizer, held: deque[tuple[Tensor, Moments]], place: int, level: int, style: Style) -> Tensor:
    change = stylizer.map(level, merged(moments for _, moments in held), style)
    return stylizer.redraw(held[place][0], level, change)
