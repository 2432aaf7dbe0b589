"""What a file is that is no picture Pillow reads, by its first bytes or its ending, and what to do with it."""

from __future__ import annotations

from collections.abc import Iterable

_CONVERT = "convert it to JPEG or PNG"
_STARTS: tuple[tuple[bytes, str, str], ...] = (  # first bytes, what that is, the remedy
    (b"version https://git-lfs", "a pointer of Git LFS in place of the file", "run git lfs pull in its repository"),
    (b"\xff\x0a", "a JPEG XL picture", _CONVERT),
    (b"\0\0\0\x0cJXL ", "a JPEG XL picture", _CONVERT),
    (b"<svg", "an SVG drawing", _CONVERT),
    (b"%PDF", "a PDF document", _CONVERT),
    (b"<!doctype html", "a web page, as of a download that failed", "fetch it again"),
    (b"<html", "a web page, as of a download that failed", "fetch it again"),
    (b"<?xml", "an XML document", "fetch it again, or remove it"),
    (b"\x93NUMPY", "a NumPy array", _CONVERT),
    (b"PK\x03\x04", "a zip archive", "unpack it"),
    (b"\x1f\x8b", "a gzip archive", "unpack it"),
    (b"\x1a\x45\xdf\xa3", "a film", "take pictures out of it, with ffmpeg for example"),
)
_BRANDS = {  # of the ISO media file format, behind "ftyp"
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), "a HEIC picture"),
    **dict.fromkeys((b"isom", b"iso2", b"mp41", b"mp42", b"avc1", b"qt  ", b"M4V "), "a film"),
}
UNREAD = frozenset(  # endings of pictures that are passed over, since nothing here reads them
    {".heic", ".heif", ".jxl", ".svg", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".dcm", ".nii", ".npy", ".exr"}
)


def stranger(data: bytes | bytearray) -> tuple[str, str] | None:
    """(what it is, the remedy) of a file's content; None for what is not recognised."""
    start = bytes(data[:64])
    if start[4:8] == b"ftyp" and start[8:12] in _BRANDS:
        what = _BRANDS[start[8:12]]
        return what, "take pictures out of it, with ffmpeg for example" if what == "a film" else _CONVERT
    if bytes(data[128:132]) == b"DICM":
        return "a DICOM file", _CONVERT
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return next(
        ((what, todo) for magic, what, todo in _STARTS if start.startswith(magic) or text.startswith(magic.lower())),
        None,
    )


def unread_note(endings: Iterable[tuple[str, int]]) -> str:
    """A line on pictures that were passed over for their kind, of endings and counts; empty where there are none."""
    found = [f"{count} {ending}" for ending, count in endings if ending in UNREAD and count]
    return f"pictures of kinds that are not read ({', '.join(found)}): convert them to JPEG or PNG" if found else ""
