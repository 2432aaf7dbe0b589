"""A rectangle of a JPEG by libjpeg-turbo, without decoding the rest of the picture; to the bit as the whole would be.

Training crops half of a picture on average, so this saves about a fifth of a decoder's time. torchvision's decoder
cannot do it; libjpeg-turbo 3 can through its TurboJPEG interface, a shared library that conda brings, and
``pip install turbojpeg``, and newer distributions. Where there is none, pictures are decoded whole.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import threading
from collections.abc import Iterator
from contextlib import suppress
from ctypes import Structure, c_int, c_size_t, c_void_p
from functools import cache
from importlib import metadata
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vit.data.decoding.crop_plan import Box

_DECOMPRESS = 1
_SUBSAMPLING, _WIDTH, _HEIGHT, _PROGRESSIVE = 4, 5, 6, 12  # parameters of tj3Get
_RGB, _GREY = 0, 6  # pixel formats
# (height, width) in pixels of the blocks that are coded together, by kind of subsampling: 4:4:4, 4:2:2, ...
_BLOCKS = ((8, 8), (8, 16), (16, 16), (8, 8), (16, 8), (8, 32), (32, 8))


class _Region(Structure):
    _fields_ = [("x", c_int), ("y", c_int), ("w", c_int), ("h", c_int)]


def available() -> bool:
    """Whether the library is there."""
    return _library() is not None


def window(data: bytes | bytearray, box: Box, channels: int) -> Tensor | None:
    """A rectangle of an ordinary JPEG (`vit.data.decoding.jpeg`).

    Args:
        data: the file.
        box: (top, left, height, width), inside the picture.
        channels: 1 grey or 3 RGB.

    Returns:
        uint8 (C, height, width), channels last in memory, perhaps part of something larger. None where the library is
        not there or had anything to complain about: then the whole picture decides.
    """
    library = _library()
    if library is None:
        return None
    found = _decoded(library, _handle(library), np.frombuffer(data, np.uint8), box, channels)
    if found is None:
        _forget(library)
    return found


def _decoded(library: Any, handle: Any, source: np.ndarray, box: Box, channels: int) -> Tensor | None:
    where, size = source.ctypes.data, len(source)
    if library.tj3DecompressHeader(handle, where, size):
        return None
    kind = library.tj3Get(handle, _SUBSAMPLING)
    # A progressive one is decoded whole in any case, and where scans are missing smoothed beyond its blocks.
    if not 0 <= kind < len(_BLOCKS) or library.tj3Get(handle, _PROGRESSIVE):
        return None
    (rows, columns), (top, left, height, width) = _BLOCKS[kind], box
    # Colour of lower resolution is interpolated, so that a pixel beside the window counts; a region begins at a block.
    low = max(0, (left // columns - 1) * columns)
    right = min(library.tj3Get(handle, _WIDTH), left + width + columns)
    high = max(0, (top // rows - 1) * rows)
    bottom = min(library.tj3Get(handle, _HEIGHT), top + height + rows)
    if library.tj3SetCroppingRegion(handle, _Region(low, high, right - low, bottom - high)):
        return None
    pixels = np.empty((bottom - high, right - low, channels), np.uint8)
    if library.tj3Decompress8(handle, where, size, pixels.ctypes.data, 0, _RGB if channels == 3 else _GREY):
        return None
    inside = pixels[top - high : top - high + height, left - low : left - low + width]
    return torch.from_numpy(inside).permute(2, 0, 1)


_own = threading.local()


def _handle(library: Any) -> Any:
    """A decoder of this thread's, in this process: a forked one has its parent's memory, not its locks."""
    if not hasattr(_own, "handle"):
        _own.handle = c_void_p(library.tj3Init(_DECOMPRESS))
    return _own.handle


def _forget(library: Any) -> None:
    """Once a decoder has complained it is not used again: versions before 3.1 may go round in circles then."""
    library.tj3Destroy(_own.handle)
    del _own.handle


@cache
def _library() -> Any:
    for name in _candidates():
        with suppress(OSError, AttributeError):  # not there, or a version without regions
            return _prepared(ctypes.CDLL(name))
    return None


def _candidates() -> Iterator[str]:
    found = ctypes.util.find_library("turbojpeg")
    if found is not None:
        yield found
    yield "libturbojpeg.so.0"
    with suppress(metadata.PackageNotFoundError):
        for path in metadata.files("turbojpeg") or ():
            if path.name.startswith("libturbojpeg"):
                yield str(path.locate())


def _prepared(library: Any) -> Any:
    library.tj3Init.argtypes, library.tj3Init.restype = [c_int], c_void_p
    library.tj3Destroy.argtypes, library.tj3Destroy.restype = [c_void_p], None
    library.tj3DecompressHeader.argtypes = [c_void_p, c_void_p, c_size_t]
    library.tj3Get.argtypes = [c_void_p, c_int]
    library.tj3SetCroppingRegion.argtypes = [c_void_p, _Region]
    library.tj3Decompress8.argtypes = [c_void_p, c_void_p, c_size_t, c_void_p, c_int, c_int]
    return library
