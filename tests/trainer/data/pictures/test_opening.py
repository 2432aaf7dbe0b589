"""Pictures of 16 bits: all of their numbers where Pillow would cut them, and what their files say of them."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from trainer.data.labels.stored import stored
from trainer.data.pictures.decode import decode, deep_values, largest_number
from trainer.data.pictures.files import BadFileError


def test_a_ppm_says_what_is_white() -> None:
    """12 bits: Pillow scales grey and cuts colours, OpenCV does neither."""
    bits = np.array([[[4095, 2048, 0]] * 2], ">u2")
    colours = b"P6 2 1 4095\n" + bits.tobytes()
    assert decode(colours, "x")[:, 0, 0].tolist() == [255, 128, 0] and largest_number(colours) is None
    assert decode(colours, "x", span=(0, 2048))[:, 0, 0].tolist() == [255, 255, 0]
    grey = b"P5 3 1 4095\n" + bits[0, 0].tobytes()
    assert decode(grey, "x", 1)[0, 0].tolist() == [255, 128, 0]
    values = deep_values(colours, "x")
    assert values is not None and values[0, 0].tolist() == [4095, 2048, 0]  # as they are: data.range speaks of them


def deep_tiff(pixels: np.ndarray, kind: int, extra: int | None) -> bytes:
    """An uncompressed TIFF of 16 bits, (H, W, C): 2 is RGB, 5 CMYK; with a last channel of the kind ``extra``."""
    height, width, channels = pixels.shape
    tags: list[tuple[int, int, int, int]] = [
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, channels, 150), (259, 3, 1, 1), (262, 3, 1, kind),
        (273, 4, 1, 160), (277, 3, 1, channels), (278, 4, 1, height), (279, 4, 1, pixels.nbytes),
    ]  # fmt: skip
    tags += [] if extra is None else [(338, 3, 1, extra)]
    table = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4)
    head = b"II*\0" + struct.pack("<I", 8) + table
    return head.ljust(150, b"\0") + struct.pack("<5H", *[16] * 5) + pixels.astype("<u2").tobytes()


@pytest.mark.parametrize(("extra", "seen"), [(None, 155), (2, 155), (1, 182), (0, 55)])
def test_a_fourth_channel_of_16_bits_is_alpha_as_its_tag_says(extra: int | None, seen: int) -> None:
    """0 is another band (infrared), 1 alpha by which the colours are multiplied: 110 of it is stored as 55."""
    stored = np.full((2, 3, 4), 55 * 257)
    stored[..., 3] = 32768
    found = decode(deep_tiff(stored, 2, extra), "x")
    assert found.shape == (3, 2, 3) and (found.float() - seen).abs().max() <= 1
    assert decode(deep_tiff(stored, 2, extra), "x", 4)[3].unique().tolist() == [255 if extra == 0 else 128]


def test_what_only_pillow_reads_of_16_bits_is_read_as_it_can() -> None:
    """CMYK, whose fourth ink OpenCV takes for alpha; for label maps there is no reading, since bits are lost."""
    data = deep_tiff(np.full((2, 3, 4), (0, 65535, 0, 0)), 5, None)
    assert decode(data, "x")[:, 0, 0].tolist() == [255, 0, 255] and deep_values(data, "x") is None
    with pytest.raises(BadFileError, match="its 16 bits of CMYK cannot be read"):
        stored(data, Path("x"))


@pytest.mark.parametrize("kind", ["png", "tif", "ppm"])
def test_a_truncated_file_of_16_bits_is_called_damaged(kind: str) -> None:
    import cv2

    pixels = np.random.default_rng(0).integers(0, 65536, (16, 16, 3)).astype(np.uint16)
    whole = deep_tiff(pixels, 2, None) if kind == "tif" else bytes(cv2.imencode(f".{kind}", pixels)[1])
    with pytest.raises(BadFileError, match=r"x: cannot be decoded, the file is damaged .*(truncated|not enough)"):
        decode(whole[: len(whole) // 2], "x")
