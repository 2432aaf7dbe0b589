"""data.range: which values of pictures of more than 8 bits (depth, infrared) become black and white.

They are found once for a data set, the same for all its frames and splits, and stay with the run: a frame's brightness
means the same in training, evaluation and generation.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from trainer.data.pictures.decode import Span, deep_values
from trainer.data.pictures.files import BadFileError, read_bytes
from vid2vid.config import DataConfig
from vid2vid.data.folders.files import Stamped, spread_out, stamped
from vid2vid.data.frames import tell
from vid2vid.data.ranges.settings import as_span

logger = logging.getLogger(__name__)

_FILES = 32  # pictures looked at, spread over the data set
_VALUES = 1 << 16  # of each, in a regular grid
_TAIL = 0.1  # percent of the values at either end that may lie outside the range
_STRETCH = 1.1  # the extremes are kept where they widen the range by less
_BITS = (8, 10, 12, 14, 16)  # of cameras' numbers


@dataclass(frozen=True)
class Spans:
    """Values that become 0 and 255.

    Attributes:
        images: of the pictures to learn; None: they have 8 bits.
        source: of pictures as condition (data.labels=rgb); None: they have 8 bits.
    """

    images: Span | None = None
    source: Span | None = None


def find_spans(data: DataConfig, images: Sequence[Path], sources: Sequence[Path]) -> Spans:
    """The spans of a data set: as configured, else as its pictures have them; the log says once what was found.

    Args:
        data: `range`, `source_range`.
        images, sources: all files of either kind, in order.
    """
    own = as_span(data.source_range)
    both = as_span(data.range)
    if own is None and data.source_range is None:
        own = both
    return Spans(
        both or _found(images, "data.range"),
        own or _found(sources, "data.range" if data.source_range is None else "data.source_range"),
    )


def keyed(key: str, span: Span | None) -> str:
    """A picture's key for the flow cache: seen in another span the same file is another picture, with another flow."""
    return key if span is None else f"{key}:{span[0]:g}..{span[1]:g}"


def _found(files: Sequence[Path], key: str) -> Span | None:
    span = _measured(tuple(map(stamped, spread_out(files, _FILES))))
    if span is not None:
        low, high = (f"{value:.6g}" for value in span)
        words = f"pictures of more than 8 bits: {low} becomes black and {high} white ({key}=[{low},{high}])"
        tell(logger, files[0].parent, words)
    return span


@lru_cache(maxsize=64)
def _measured(files: tuple[Stamped, ...]) -> Span | None:
    """The span of the deep ones among files; None: there are none. Kept per process until a file changes."""
    values: list[np.ndarray] = []
    colours = False
    for path, _ in files:
        try:
            data = read_bytes(path)
            pixels = deep_values(data, path)
        except BadFileError:
            continue  # said where it is read
        if pixels is None:
            continue
        colours |= pixels.ndim == 3
        step = max(1, int((pixels.shape[0] * pixels.shape[1] / _VALUES) ** 0.5))
        values.append(pixels[::step, ::step].ravel())
    return _span(values, colours) if values else None


def _span(values: Iterable[np.ndarray], colours: bool) -> Span:
    """Black and white for sampled numbers.

    Colours keep their balance: the range begins at 0 and ends at the largest number of as many bits as they need. Grey
    is spread from its darkest to its brightest, holes (0) and outliers aside, unless it fills the bits or fits into 8.
    """
    parts = [part[np.isfinite(part)] for part in values]
    whole = np.concatenate(parts) if parts else np.zeros(0)
    if whole.size == 0:
        return 0.0, 1.0
    integers = np.issubdtype(whole.dtype, np.integer)
    least, most = float(whole.min()), float(whole.max())
    if integers and least >= 0 and (colours or most <= 255):
        return 0.0, float(2 ** next((bits for bits in _BITS if most < 2**bits), 32) - 1)
    if not integers and colours and least >= 0 and most <= 1:
        return 0.0, 1.0
    seen = whole[whole != 0] if not colours and (whole != 0).any() else whole
    low, high = (float(value) for value in np.percentile(seen, [_TAIL, 100 - _TAIL], method="nearest"))
    least, most = float(seen.min()), float(seen.max())
    if most - least <= _STRETCH * (high - low):
        low, high = least, most
    if integers and low < 6554 and 39321 < high <= 65535:  # it fills 16 bits: below a tenth, above six tenths of them
        low, high = 0.0, 65535.0
    return (low, high) if high > low else (low, low + 1)
