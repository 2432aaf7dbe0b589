"""Pictures of strangers: how large they may be, and what Pillow may not do with them."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from trainer.data.pictures.decode import decode
from trainer.data.pictures.files import BadFileError
from trainer.data.pictures.guarded import jpeg_size
from trainer.data.pictures.opening import opened


def test_a_jpeg_that_claims_more_than_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before libjpeg makes place for it; bytes between its segments, which libjpeg passes over, hide nothing."""
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48)).save(buffer, "JPEG")
    data = bytearray(buffer.getvalue())
    at = data.index(b"\xff\xc0")
    assert jpeg_size(data) == (48, 64)
    data[at + 5 : at + 9] = b"\xff\xdc\xff\xdc"
    for content in (data, data[:at] + b"\x00\x11\xff\xff" + data[at + 1 :]):
        with pytest.raises(BadFileError, match="65500 x 65500 = 4,290,250,000 pixels, too large"):
            decode(content, "a.jpg")
    monkeypatch.setenv("VIVID_MAX_PIXELS", "3071")
    with pytest.raises(BadFileError, match=r"48 x 64 = 3,072 pixels.*trust.max_pixels=3072 if you trust it"):
        decode(buffer.getvalue(), "a.jpg")
    monkeypatch.setenv("VIVID_MAX_PIXELS", "3072")
    assert decode(buffer.getvalue(), "a.jpg").shape == (3, 48, 64)


def test_scans_of_a_progressive_jpeg() -> None:
    """A scan without changes is 10 to 30 bytes, and goes through all pixels: 0.4 s of a picture of the largest size."""
    buffer = io.BytesIO()
    Image.effect_noise((64, 48), 90).save(buffer, "JPEG", progressive=True)
    plain = buffer.getvalue()
    had, at = plain.count(b"\xff\xda"), plain.rindex(b"\xff\xda")
    scan = plain[at:-2]
    assert 5 <= had <= 20
    most = plain[:-2] + scan * (100 - had) + plain[-2:]
    assert decode(most, "a.jpg").shape == (3, 48, 64)
    assert opened(most, "a.jpg", np.asarray).shape == (48, 64)
    for content in (most[:-2] + scan + most[-2:], plain[:-2] + (b"\xff\xff\0" + scan) * 200):
        with pytest.raises(BadFileError, match=r"a.jpg: a JPEG of more than 100 scans"):
            decode(content, "a.jpg")
        with pytest.raises(BadFileError, match=r"a.jpg: a JPEG of more than 100 scans"):
            opened(content, "a.jpg", np.asarray)
    comment = b"\xff\xfe" + struct.pack(">H", 402) + b"\xff\xda" * 200
    for content in (plain + scan * 200, plain[:2] + comment + plain[2:]):  # a phone's film after the end, a thumbnail
        assert torch.equal(decode(content, "a.jpg"), decode(plain, "a.jpg"))


def test_texts_that_unpack_to_more_than_is_read() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG")
    head, rest = buffer.getvalue()[:33], buffer.getvalue()[33:]
    for name, start in ((b"zTXt", b"a\0\0"), (b"iCCP", b"a\0\0")):
        body = name + start + zlib.compress(bytes(2**26 + 1))
        chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
        with pytest.raises(BadFileError, match="unpacks to more than 67,108,864 bytes"):
            decode(head + chunk + rest, "a.png")


def test_formats_that_start_other_programs_are_no_pictures() -> None:
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n"
    with Image.open(io.BytesIO(eps)) as image:
        assert image.format == "EPS"  # Pillow by itself would give it to Ghostscript
    with pytest.raises(BadFileError, match="not a picture in a known format"):
        decode(eps, "a.png")
