"""What Pillow may open, and how large: of files that may be anybody's.

Pillow chooses a plugin by a file's content, whatever its name. Some of those start another program (EPS is given to
Ghostscript) or none of ours, so only formats that Pillow decodes by itself are tried.
"""

from __future__ import annotations

import io
import re
from functools import cache
from pathlib import Path

from PIL import Image, PngImagePlugin, UnidentifiedImageError

from trainer.data.pictures.files import BadFileError
from trainer.untrusted.limits import max_pixels

PROGRAMS = frozenset({"EPS", "BUFR", "GRIB", "HDF5", "MPEG", "WMF"})  # given to other programs, or to handlers
TEXT_LIMIT = 2**26  # bytes that a PNG's texts and its colour profile may unpack to; editors keep whole histories there
PngImagePlugin.MAX_TEXT_CHUNK = TEXT_LIMIT
PngImagePlugin.MAX_TEXT_MEMORY = 2**28
_FIRST = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "PPM")  # of the others many look at more than the first bytes
_FRAME = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0))
_BARE = (0x00, 0x01, *range(0xD0, 0xD9))  # of JPEG's markers those without a length; 0: no marker
_SCAN = 0xDA
_END = 0xD9
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")  # with a length, or the end
MAX_SCANS = 100  # of a progressive JPEG, each of which goes through all its pixels; usual are 6 to 20


@cache
def formats() -> tuple[str, ...]:
    """Pillow's names of the formats that are read."""
    Image.init()
    return (*_FIRST, *(name for name in Image.OPEN if name not in PROGRAMS and name not in _FIRST))


def open_image(source: bytes | bytearray | Path) -> Image.Image:
    """A picture as Pillow opens it, its pixels not yet read.

    Raises:
        Image.DecompressionBombError: it has more pixels than `trust.max_pixels`.
        UnidentifiedImageError: none of the formats that are read.
        And whatever Pillow's plugins raise of damaged files.
    """
    Image.MAX_IMAGE_PIXELS = max(1, max_pixels() // 2)  # Pillow warns from here on and refuses twice as much
    image = Image.open(source if isinstance(source, Path) else io.BytesIO(source), formats=formats())
    if image.format == "FITS" and image.tile and image.tile[0][0] == "fits_gzip":
        raise UnidentifiedImageError("a FITS file that is compressed by gzip")  # which Pillow unpacks without a limit
    return image


def too_many_pixels(name: str | Path, count: int, sides: str = "") -> BadFileError:
    """The error of a picture, or a film, that is too large.

    Args:
        count: of its pixels.
        sides: height and width in words, where they are known.
    """
    return BadFileError(
        f"{name}: has {sides}{count:,} pixels, too large to be read whole: trust.max_pixels={max_pixels()} are "
        f"allowed. Set trust.max_pixels={count} if you trust it, or reduce it, or set data.on_bad_file=skip"
    )


def check_pixels(height: int, width: int, name: str | Path) -> None:
    """Raises BadFileError where a picture has more pixels than `trust.max_pixels`."""
    if height * width > max_pixels():
        raise too_many_pixels(name, height * width, f"{height} x {width} = ")


def jpeg_size(data: bytes | bytearray) -> tuple[int, int] | None:
    """(height, width) that libjpeg will find in a JPEG's first frame header; None where it will find none.

    As libjpeg does, bytes between segments are passed over.
    """
    at = 2
    while True:
        at = data.find(b"\xff", at)
        if at < 0:
            return None
        while at < len(data) and data[at] == 0xFF:  # padding
            at += 1
        if at + 8 > len(data):
            return None
        marker, at = data[at], at + 1
        if marker in _BARE:
            continue
        if marker in _FRAME:
            return int.from_bytes(data[at + 3 : at + 5], "big"), int.from_bytes(data[at + 5 : at + 7], "big")
        if marker == _SCAN:
            return None
        at += max(2, int.from_bytes(data[at : at + 2], "big"))


def check_scans(data: bytes | bytearray, name: str | Path) -> None:
    """Raises BadFileError where a JPEG has more than 100 scans: 30 bytes each, and the time of a whole picture."""
    if data.count(b"\xff\xda") <= MAX_SCANS:  # of a film after the picture, as phones write them, it counts chance
        return
    at, scans = 2, 0
    while found := _MARKER.search(data, at):
        marker, at = found[0][-1], found.end()
        if marker == _END:
            return
        scans += marker == _SCAN
        if scans > MAX_SCANS:
            raise BadFileError(
                f"{name}: a JPEG of more than {MAX_SCANS} scans, which ordinary ones do not have: save it anew"
            )
        at += max(2, int.from_bytes(data[at : at + 2], "big"))
