"""What a JPEG's header tells: whether it is of the ordinary kind, and how large the picture is.

Ordinary is what cameras and tools mostly write, and what every decoder gives the same picture of: grey or YCbCr of 8
bits, Huffman-coded, upright, with its end. The others are decoded whole, and on the CPU.
"""

from __future__ import annotations

import struct

from vit.data.decoding.crop_plan import Size

_START, _END = b"\xff\xd8\xff", b"\xff\xd9"
_FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended, progressive; the others are lossless or arithmetically coded
_NOT_FRAMES = (0xC4, 0xC8, 0xCC)  # tables that have a number among those of frames
_SCAN = 0xDA
_BARE = (0x01, *range(0xD0, 0xD8))  # markers without a length
_RGB_IDS = (0x52, 0x47, 0x42)  # "RGB": components that are not YCbCr
_TRAILER = 32  # bytes that may follow the end: tools pad files


def ordinary(data: bytes | bytearray) -> Size | None:
    """(height, width) of an ordinary JPEG; None for whatever else, or in doubt."""
    if not data.startswith(_START) or data.rfind(_END, -_TRAILER) < 0:
        return None
    try:
        return _walk(data)
    except (struct.error, IndexError):  # cut, or no markers at all
        return None


def _walk(data: bytes | bytearray) -> Size | None:
    at = 2
    while data[at] == 0xFF:
        marker = data[at + 1]
        if marker in _BARE or marker == 0xFF:  # 0xFF: padding before a marker
            at += 1 if marker == 0xFF else 2
            continue
        if marker == _SCAN:
            return None  # no frame before it
        (length,) = struct.unpack_from(">H", data, at + 2)
        body = at + 4
        if marker == 0xE1 and data[body : body + 6] == b"Exif\0\0":
            if _orientation(data[body + 6 : at + 2 + length]) != 1:
                return None
        elif marker == 0xEE and data[body : body + 5] == b"Adobe":
            if data[body + 11] == 0:  # RGB or CMYK as they are
                return None
        elif 0xC0 <= marker <= 0xCF and marker not in _NOT_FRAMES:
            return _frame(data, marker, body)
        at += 2 + length
    return None


def _frame(data: bytes | bytearray, marker: int, body: int) -> Size | None:
    bits, height, width, components = struct.unpack_from(">BHHB", data, body)
    ids = tuple(data[body + 6 + 3 * index] for index in range(components))
    if marker not in _FRAMES or bits != 8 or components not in (1, 3) or ids == _RGB_IDS or not height or not width:
        return None
    return height, width


def _orientation(tags: bytes | bytearray) -> int:
    """EXIF's orientation: 1 upright, 2 to 8 turned or mirrored, 0 where the tags cannot be read."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(bytes(tags[:4]))
    if order is None:
        return 0
    (first,) = struct.unpack_from(order + "I", tags, 4)
    (count,) = struct.unpack_from(order + "H", tags, first)
    for index in range(count):
        tag, kind, _, value = struct.unpack_from(order + "HHIH", tags, first + 2 + 12 * index)
        if tag == 0x0112:
            return value if kind == 3 else 0
    return 1
