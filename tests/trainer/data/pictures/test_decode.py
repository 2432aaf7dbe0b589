"""Every kind of picture reads as the same colours, and a bad file is named."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from trainer.data.pictures.decode import decode, deep_values, largest_number, to_channels
from trainer.data.pictures.files import BadFileError, picture_extensions, read_bytes
from trainer.data.pictures.opening import picture_size

ORANGE = (200, 120, 40)
LUMA = 134.8  # of ORANGE


def orange(height: int = 16, width: int = 24, mode: str = "RGB") -> Image.Image:
    return Image.new("RGB", (width, height), ORANGE).convert(mode)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def means(data: bytes, channels: int = 3) -> list[float]:
    image = decode(data, "x", channels)
    assert image.dtype == torch.uint8 and image.shape[0] == channels
    return image.float().mean((1, 2)).tolist()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "TGA", "JPEG2000"])
def test_formats(kind: str) -> None:
    assert means(encoded(orange(), kind)) == pytest.approx(ORANGE, abs=3)
    assert means(encoded(orange(), kind), 1) == pytest.approx([LUMA], abs=2)
    assert means(encoded(orange(), kind), 4) == pytest.approx([*ORANGE, 255], abs=3)


@pytest.mark.parametrize(("mode", "kind"), [("CMYK", "JPEG"), ("CMYK", "TIFF"), ("P", "PNG"), ("YCbCr", "JPEG")])
def test_colour_models(mode: str, kind: str) -> None:
    assert means(encoded(orange(mode=mode), kind)) == pytest.approx(ORANGE, abs=3)
    assert means(encoded(orange(mode=mode), kind), 1) == pytest.approx([LUMA], abs=3)


@pytest.mark.parametrize(("mode", "kind"), [("L", "JPEG"), ("L", "PNG"), ("1", "PNG")])
def test_grey_becomes_equal_channels(mode: str, kind: str) -> None:
    image = decode(encoded(orange(mode=mode), kind), "x")
    assert image.shape == (3, 16, 24) and torch.equal(image[0], image[2])


def test_transparent_pixels_lie_over_white() -> None:
    pixels = np.zeros((4, 8, 4), np.uint8)
    pixels[..., :3] = ORANGE
    pixels[:, :4, 3] = 255  # opaque on the left
    pixels[:, 6:, 3] = 51  # a fifth on the right
    data = encoded(Image.fromarray(pixels), "PNG")
    image = decode(data, "x")
    assert image[:, 0, 0].tolist() == list(ORANGE) and image[:, 0, 4].tolist() == [255] * 3
    assert image[:, 0, 7].tolist() == pytest.approx([255 + (c - 255) / 5 for c in ORANGE], abs=1)
    assert decode(data, "x", 4)[3, 0].tolist() == [255] * 4 + [0] * 2 + [51] * 2
    assert decode(data, "x", 1)[0, 0, 4] == 255


def test_a_transparent_palette_colour_and_grey_with_alpha() -> None:
    palette = orange().quantize(2)
    data = encoded(palette, "PNG", transparency=palette.getpixel((0, 0)))
    assert means(data) == [255] * 3
    grey = Image.fromarray(np.dstack([np.full((4, 4), 90, np.uint8), np.zeros((4, 4), np.uint8)]))
    assert means(encoded(grey, "PNG")) == [255] * 3


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bits_are_scaled_not_clipped(kind: str) -> None:
    values = np.array([[0, 257, 128 * 257, 65535], [4095, 300, 20000, 60000]], np.uint16)
    image = decode(encoded(Image.fromarray(values), kind), "x", 1)
    assert image[0].tolist() == np.rint(values / 257).astype(int).tolist()
    assert decode(encoded(Image.fromarray(values), kind), "x", 4)[3].eq(255).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF"])
def test_exif_orientation(kind: str, orientation: int) -> None:
    pixels = np.zeros((32, 48, 3), np.uint8)
    pixels[:16, :24] = 250  # one bright corner
    exif = Image.Exif()
    exif[0x0112] = orientation
    check_turned(encoded(Image.fromarray(pixels), kind, exif=exif), orientation, None)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["png", "tiff"])
def test_orientation_of_16_bit_colour(kind: str, orientation: int) -> None:
    """OpenCV, which reads it for data.range, turns the one and not the other."""
    import cv2

    pixels = np.zeros((32, 48, 3), np.uint16)
    pixels[:16, :24] = 4000
    if kind == "png":
        exif = Image.Exif()
        exif[0x0112] = orientation
        tags = exif.tobytes()[6:]
        chunk = struct.pack(">I", len(tags)) + b"eXIf" + tags + struct.pack(">I", zlib.crc32(b"eXIf" + tags))
        plain = cv2.imencode(".png", pixels)[1].tobytes()
        data = plain[:33] + chunk + plain[33:]  # behind the header
    else:
        data = tiff(pixels, orientation)
    check_turned(data, orientation, (0, 4095))


def tiff(pixels: np.ndarray, orientation: int) -> bytes:
    """16-bit RGB without compression: header, one directory, three depths, pixels."""
    height, width, _ = pixels.shape
    rows = [(256, width), (257, height), (258, None), (259, 1), (262, 2), (273, 0), (274, orientation), (277, 3),
            (278, height), (279, pixels.nbytes)]  # fmt: skip
    depths = 8 + 2 + 12 * len(rows) + 4
    found = b"II*\0" + struct.pack("<IH", 8, len(rows))
    for tag, value in rows:
        count, number = (3, depths) if value is None else (1, depths + 6 if tag == 273 else value)
        found += struct.pack("<HHII", tag, 3 if value is None else 4, count, number)
    return found + struct.pack("<I3H", 0, 16, 16, 16) + pixels.astype("<u2").tobytes()


def check_turned(data: bytes, orientation: int, span: tuple[float, float] | None) -> None:
    image = decode(data, "x", 3, span)[0]
    turned = (48, 32) if orientation >= 5 else (32, 48)
    assert tuple(image.shape) == turned == picture_size(data, "x")
    corners = [image[2, 2], image[2, -3], image[-3, -3], image[-3, 2]]  # clockwise from the upper left
    bright = {1: 0, 2: 1, 3: 2, 4: 3, 5: 0, 6: 1, 7: 2, 8: 3}[orientation]
    assert [bool(corner > 128) for corner in corners] == [place == bright for place in range(4)]


def test_the_first_frame_of_an_animation() -> None:
    frames = [orange(), Image.new("RGB", (24, 16), (0, 0, 255))]
    assert means(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])) == pytest.approx(ORANGE, abs=3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("part", [0.3, 0.9])
def test_a_truncated_file_is_named(kind: str, part: float) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    data = encoded(noise, kind)
    with pytest.raises(BadFileError, match=r"cats/7\.jpg: cannot be decoded.*on_bad_file=skip"):
        decode(data[: int(part * len(data))], "cats/7.jpg")


@pytest.mark.parametrize("data", [b"no picture", b"\xff\xd8\xff\xe0rubbish", b"\x89PNG\r\n\x1a\n"])
def test_no_picture_at_all(data: bytes) -> None:
    with pytest.raises(BadFileError, match=r"x\.png: cannot be decoded"):
        decode(data, "x.png")


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        (np.array([[0.5, np.nan]], np.float32), "NaN or infinite"),
        (np.array([[0.5, np.inf]], np.float32), "NaN or infinite"),
        (np.array([[0.5, 80.0]], np.float32), "scale of 0..1"),
        (np.array([[5, 70000]], np.int32), "16 bits"),
        (np.array([[5, -1]], np.int32), "16 bits"),
    ],
)
def test_values_that_are_no_picture(values: np.ndarray, problem: str) -> None:
    with pytest.raises(BadFileError, match=f"a.tif: .*{problem}"):
        decode(encoded(Image.fromarray(values), "TIFF"), "a.tif")


def test_floating_point_on_a_scale_of_one() -> None:
    data = encoded(Image.fromarray(np.array([[0.0, 0.5, 1.0]], np.float32)), "TIFF")
    assert decode(data, "x", 1).flatten().tolist() == [0, 128, 255]


def test_reading_files(tmp_path) -> None:
    with pytest.raises(BadFileError, match="cannot be read"):
        read_bytes(tmp_path / "none.png")
    (tmp_path / "empty.png").touch()
    with pytest.raises(BadFileError, match="empty"):
        read_bytes(tmp_path / "empty.png")


def test_extensions() -> None:
    assert {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".gif", ".ppm", ".avif"} <= picture_extensions()
    assert not {".pdf", ".txt", ".json", ".mpg", ".eps", ".h5"} & picture_extensions()


def test_channels_of_arrays() -> None:
    grey = torch.full((1, 2, 2), 7, dtype=torch.uint8)
    assert to_channels(grey, 3).tolist() == grey.expand(3, 2, 2).tolist()
    assert to_channels(grey, 4)[3].eq(255).all()
    colour = torch.tensor(ORANGE, dtype=torch.uint8).view(3, 1, 1)
    assert to_channels(colour, 1).item() == 135
    with pytest.raises(ValueError, match="channels=2"):
        decode(b"", "x", 2)


def test_twelve_bits_in_sixteen(tmp_path: Path) -> None:
    ramp = np.linspace(0, 4095, 256).round().astype(np.uint16).reshape(16, 16)
    Image.fromarray(ramp).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    assert len(decode(data, "a.png", 1).unique()) == 17
    found = decode(data, "a.png", 1, (0, 4095))
    assert len(found.unique()) == 256 and found.flatten().tolist() == list(range(256))
    assert decode(data, "a.png", 1, (1000, 2000)).flatten()[[0, 62, 63, 125, 255]].tolist() == [0, 0, 3, 255, 255]
    assert largest_number(data) == 4095 and largest_number(b"rubbish") is None


def test_sixteen_bit_colour(tmp_path: Path) -> None:
    import cv2

    values = np.arange(4 * 5 * 3, dtype=np.uint16).reshape(4, 5, 3) * 64
    for name in ("a.png", "a.tif"):
        assert cv2.imwrite(str(tmp_path / name), values[..., ::-1])
        data = (tmp_path / name).read_bytes()
        found = decode(data, name, 3, (0, 4095)).permute(1, 2, 0).numpy()
        assert np.abs(found - np.clip(values / 4095 * 255, 0, 255)).max() <= 0.51
        assert largest_number(data) == 59 * 64
    grey = np.linspace(0, 4095, 20).round().astype(">u2").reshape(4, 5)
    whole = np.stack([grey, np.full_like(grey, 65535)], axis=2).astype(">u2")
    lines = b"".join(b"\0" + line.tobytes() for line in whole)
    parts = (b"IHDR", struct.pack(">2I5B", 5, 4, 16, 4, 0, 0, 0)), (b"IDAT", zlib.compress(lines)), (b"IEND", b"")
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in parts
    )
    found = decode(data, "c.png", 1, (0, 4095))[0].numpy()  # grey with alpha
    assert np.abs(found - grey / 4095 * 255).max() <= 0.51 and largest_number(data) == 4095
    eight = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    cv2.imwrite(str(tmp_path / "b.png"), eight[..., ::-1])
    data = (tmp_path / "b.png").read_bytes()
    assert np.array_equal(decode(data, "b.png", 3, (0, 4095)).permute(1, 2, 0), eight) and largest_number(data) is None


@pytest.mark.parametrize("kind", ["int", "float"])
def test_other_scales(tmp_path: Path, kind: str) -> None:
    values = np.array([[-1000, 0], [1000, 3000]], np.int32 if kind == "int" else np.float32)
    Image.fromarray(values).save(tmp_path / "a.tif")
    data = (tmp_path / "a.tif").read_bytes()
    with pytest.raises(BadFileError, match=r"these go from -1000 to 3000\..*data\.range=\[low,high\]"):
        decode(data, "a.tif", 1)
    assert decode(data, "a.tif", 1, (-1000, 1000)).flatten().tolist() == [0, 128, 255, 255]


def test_damaged_avif_is_a_bad_file() -> None:
    if ".avif" not in picture_extensions():
        pytest.skip("this Pillow reads no AVIF")
    whole = io.BytesIO()
    Image.effect_noise((48, 48), 60).convert("RGB").save(whole, "AVIF")
    data, rng = whole.getvalue(), np.random.default_rng(0)
    assert decode(data, "a.avif").shape == (3, 48, 48)
    for _ in range(150):
        spoiled = bytearray(data)
        for place in rng.integers(0, len(data), 6):
            spoiled[place] = rng.integers(0, 256)
        with contextlib.suppress(BadFileError):
            decode(bytes(spoiled), "a.avif")
    with pytest.raises(BadFileError):
        decode(data[: len(data) // 2], "a.avif")


@pytest.mark.slow
def test_large_and_oddly_tagged_pictures_are_whole(tmp_path: Path) -> None:
    from PIL.PngImagePlugin import PngInfo

    text = PngInfo()
    text.add_text("history", "x" * 3_000_000, zip=True)
    Image.new("RGB", (8, 8), (1, 2, 3)).save(tmp_path / "a.png", pnginfo=text)
    assert decode((tmp_path / "a.png").read_bytes(), "a.png")[:, 0, 0].tolist() == [1, 2, 3]
    Image.new("L", (20000, 10000)).save(tmp_path / "b.png")  # 200 megapixels
    data = (tmp_path / "b.png").read_bytes()
    assert picture_size(data, "b.png") == (10000, 20000) and decode(data, "b.png", 1).shape == (1, 10000, 20000)
    Image.new("1", (60000, 40000)).save(tmp_path / "c.png")
    with pytest.raises(BadFileError, match=r"too large to be read whole.*trust.max_pixels=2400000000 if") as caught:
        decode((tmp_path / "c.png").read_bytes(), "c.png")
    assert "damaged" not in str(caught.value)


def test_damaged_tags_leave_a_picture_upright(tmp_path: Path) -> None:
    for name in ("a.webp", "a.png"):
        exif = b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x12\x01\x63\0" * 4
        Image.new("RGB", (6, 4), (9, 9, 9)).save(tmp_path / name, exif=exif, lossless=True)
        data = (tmp_path / name).read_bytes()
        assert decode(data, name).shape == (3, 4, 6) and picture_size(data, name) == (4, 6)


def test_a_kind_of_tiff_that_is_not_read_is_not_called_damaged() -> None:
    with pytest.raises(BadFileError, match="a TIFF of a kind that is not read") as caught:
        decode(b"II*\0\x08\0\0\0\0\0\0\0\0\0", "a.tif")
    assert "damaged" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a HEIC picture, .*convert it to JPEG"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 12\n", "Git LFS .*git lfs pull"),
        (b"\xff\x0a\xfa\x1f", "JPEG XL"),
        (b"\n<!DOCTYPE html><html>", "a web page, .*fetch it again"),
        (b"\xef\xbb\xbf<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"%PDF-1.7", "PDF"),
        (b"\0" * 128 + b"DICM", "DICOM"),
        (b"\0\0\0\x20ftypisom\0\0", "a film, .*ffmpeg"),
        (b"\x93NUMPY\x01", "NumPy"),
    ],
)
def test_what_is_another_kind_of_file_is_named(data: bytes, told: str) -> None:
    with pytest.raises(BadFileError, match=f"x\\.jpg: is .*{told}.*data\\.on_bad_file=skip"):
        decode(data, "x.jpg")


@pytest.mark.parametrize("transparent", [3, bytes(range(0, 160, 10))])
def test_palettes_with_transparency(transparent: int | bytes) -> None:
    picture = Image.fromarray(np.arange(16, dtype=np.uint8).reshape(4, 4))
    picture = picture.convert("P")
    picture.putpalette([value for index in range(16) for value in (index * 16, 255 - index * 16, 7)])
    found = decode(encoded(picture, "PNG", transparency=transparent), "x.png").permute(1, 2, 0).numpy()
    for index in range(16):
        alpha = (0 if index == 3 else 255) if transparent == 3 else 10 * index
        colour = np.array([index * 16, 255 - index * 16, 7])
        expected = (colour * alpha + 255 * (255 - alpha)) / 255
        assert np.abs(found.reshape(16, 3)[index] - expected).max() <= 1


@pytest.mark.parametrize("kind", ["MPO", "TIFF", "WEBP"])
def test_of_several_pictures_the_first(kind: str) -> None:
    first, second = Image.new("RGB", (16, 8), (250, 0, 0)), Image.new("RGB", (16, 8), (0, 250, 0))
    found = decode(encoded(first, kind, save_all=True, append_images=[second]), f"x.{kind}")
    assert found.shape == (3, 8, 16) and np.abs(found[:, 4, 8].numpy().astype(int) - [250, 0, 0]).max() <= 3


@pytest.mark.parametrize("zero_is_white", [False, True])
def test_fax_pages(zero_is_white: bool) -> None:
    """TIFF of one bit, in either sense of it."""
    page = Image.new("1", (8, 2), 0)
    page.putpixel((0, 0), 255)
    options = {"tiffinfo": {262: 0}} if zero_is_white else {"compression": "group4"}
    found = decode(encoded(page, "TIFF", **options), "x.tif")
    assert found.shape == (3, 2, 8) and found[:, 0, 0].tolist() == [255] * 3 and int(found.int().sum()) == 3 * 255


@pytest.mark.parametrize("kind", [".png", ".tif", ".ppm"])
def test_sixteen_bit_colour_is_scaled_over_all_its_bits(kind: str) -> None:
    """Pillow alone keeps the upper eight bits: 511 would be 1, not 2."""
    import cv2

    values = np.array([[[0, 257, 511], [65535, 300, 20000]]], np.uint16)
    data = cv2.imencode(kind, values[..., ::-1])[1].tobytes()
    assert np.array_equal(decode(data, "x").permute(1, 2, 0).numpy(), np.rint(values / 257).astype(np.uint8))
    assert np.array_equal(deep_values(data, "x"), values)


def test_no_number_is_the_lower_end_of_a_range_that_is_given() -> None:
    data = encoded(Image.fromarray(np.array([[np.nan, 2.0, np.inf, 3.0]], np.float32)), "TIFF")
    assert decode(data, "x", 1, (1.0, 3.0)).flatten().tolist() == [0, 128, 255, 255]
