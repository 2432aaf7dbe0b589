"""Decoding of every kind of picture and label map that users have."""

from __future__ import annotations

import hashlib
import io

import numpy as np
import pytest
import torch
from PIL import Image

from tests.helpers.made_frames import label_map, picture
from trainer.data.natural_order import decimal_key
from trainer.data.pictures.decode import decode
from trainer.data.pictures.files import BadFileError, read_bytes
from trainer.errors import DataError
from vid2vid.data.folders.files import content_key, list_files
from vid2vid.data.labels.decode import decode_instances, decode_labels
from vid2vid.data.labels.label_range import LabelRange


def encoded(image: Image.Image | np.ndarray, kind: str = "png", **options: object) -> bytes:
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, kind, **options)
    return buffer.getvalue()


def test_natural_order(tmp_path):
    for name in ("f10.png", "f9.PNG", "f2.png", ".hidden.png", "f1.txt"):
        (tmp_path / name).write_bytes(b"x")
    assert [p.name for p in list_files(tmp_path, (".png",))] == ["f2.png", "f9.PNG", "f10.png"]
    assert sorted(["b", "10", "9a", "a2", "a10"], key=decimal_key) == ["9a", "10", "a2", "a10", "b"]


@pytest.mark.parametrize("kind", ["png", "bmp", "webp"])
def test_lossless_pictures(kind, tmp_path):
    options = {"lossless": True} if kind == "webp" else {}
    image = decode(encoded(picture(), kind, **options), tmp_path)
    assert torch.equal(image, torch.from_numpy(picture()).permute(2, 0, 1))


def test_jpeg_is_close_and_turned_as_exif_says(tmp_path):
    original = torch.from_numpy(picture()).permute(2, 0, 1).float()
    assert (decode(encoded(picture(), "jpeg", quality=95, subsampling=0), tmp_path).float() - original).abs().mean() < 4
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by a quarter
    turned = decode(encoded(Image.fromarray(picture()), "jpeg", quality=95, subsampling=0, exif=exif), tmp_path)
    assert turned.shape == (3, 80, 40)
    assert (turned.float() - original.rot90(-1, (1, 2))).abs().mean() < 4


def test_grey_alpha_palette_and_16_bit_pictures(tmp_path):
    grey = picture()[..., 0]
    assert torch.equal(decode(encoded(grey), tmp_path), torch.from_numpy(grey).expand(3, -1, -1))
    rgba = np.concatenate([picture(), np.full((40, 80, 1), 128, np.uint8)], axis=-1)
    over_white = np.rint((picture() * 128.0 + 255 * 127.0) / 255)
    assert np.abs(decode(encoded(rgba), tmp_path).permute(1, 2, 0).numpy() - over_white).max() <= 1
    paletted = Image.fromarray(picture()).quantize(16)
    expected = torch.from_numpy(np.array(paletted.convert("RGB"))).permute(2, 0, 1)
    assert torch.equal(decode(encoded(paletted), tmp_path), expected)
    deep = grey.astype(np.uint16) * 257
    assert torch.equal(decode(encoded(deep), tmp_path), torch.from_numpy(grey).expand(3, -1, -1))
    cmyk = encoded(Image.fromarray(picture()).convert("CMYK"), "jpeg")
    assert decode(cmyk, tmp_path).shape == (3, 40, 80)


def test_one_channel_is_luminance(tmp_path):
    red = np.zeros((4, 6, 3), np.uint8)
    red[..., 0] = 200
    assert decode(encoded(red), tmp_path, 1).unique().tolist() == [60]


def test_label_maps_of_8_and_16_bits_and_palettes(tmp_path):
    ids = label_map(0)
    for array in (ids, ids.astype(np.uint16), np.repeat(ids[..., None], 3, axis=-1)):
        decoded = decode_labels(encoded(array), tmp_path)
        assert decoded.dtype == torch.int32 and np.array_equal(decoded.numpy(), ids)
    large = ids.astype(np.uint16) + 1000
    assert np.array_equal(decode_labels(encoded(large), tmp_path).numpy(), large)
    paletted = Image.fromarray(ids, "L").convert("P")
    paletted.putdata(ids.ravel().tolist())
    paletted.putpalette([(i * 7) % 256 for i in range(768)])
    assert np.array_equal(decode_labels(encoded(paletted), tmp_path).numpy(), ids)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_label_maps_of_few_bits_keep_their_ids(bits, tmp_path):
    ids = (np.arange(64).reshape(8, 8) % 2**bits).astype(np.uint8)
    paletted = Image.fromarray(ids, "L").convert("P")
    paletted.putdata(ids.ravel().tolist())
    assert np.array_equal(decode_labels(encoded(paletted, bits=bits), tmp_path).numpy(), ids)
    assert np.array_equal(decode_labels(_grey_png(ids, bits), tmp_path).numpy(), ids)


def _grey_png(ids: np.ndarray, bits: int) -> bytes:
    """A greyscale PNG of few bits, which Pillow reads but does not write."""
    import struct
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    height, width = ids.shape
    bit_rows = ((ids[..., None] >> np.arange(bits - 1, -1, -1)) & 1).reshape(height, -1)
    rows = b"".join(b"\0" + np.packbits(row).tobytes() for row in bit_rows.astype(np.uint8))
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_coloured_label_map_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"x\.png: a label map holds one id.*data\.labels=rgb"):
        decode_labels(encoded(picture()), tmp_path / "x.png")


def test_instances_of_16_bits_and_of_colours(tmp_path):
    ids = label_map(0).astype(np.uint16) * 1000 + 5
    assert np.array_equal(decode_instances(encoded(ids), tmp_path).numpy(), ids)
    coloured = np.stack([ids % 256, ids // 256, np.full_like(ids, 2)], axis=-1).astype(np.uint8)
    assert np.array_equal(decode_instances(encoded(coloured), tmp_path).numpy(), ids.astype(np.int32) + 131072)


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
@pytest.mark.parametrize("damage", ["cut", "noise", "text"])
def test_damage_is_named(kind, damage, tmp_path):
    data = encoded(picture(), kind)
    data = {"cut": data[: len(data) // 2], "noise": data[:20] + b"\7" * 200, "text": b"hello"}[damage]
    with pytest.raises(BadFileError, match=r"broken\.xyz: cannot be decoded.*on_bad_file=skip"):
        decode(data, tmp_path / "broken.xyz")


def test_empty_and_missing_files_are_named(tmp_path):
    (tmp_path / "empty.png").write_bytes(b"")
    with pytest.raises(BadFileError, match=r"empty\.png: the file is empty"):
        read_bytes(tmp_path / "empty.png")
    with pytest.raises(BadFileError, match=r"gone\.png: cannot be read"):
        read_bytes(tmp_path / "gone.png")


def test_content_key_is_of_the_content():
    assert content_key(b"a") == content_key(b"a") != content_key(b"b")


@pytest.mark.parametrize("mode, kept", [("RGB", True), ("L", True), ("P", True), ("RGBA", False), ("LA", False)])
def test_flow_kept_from_before_alpha_was_laid_over_white_is_used_for_opaque_pictures(mode, kept):
    data = encoded(Image.new(mode, (8, 6)), "PNG")
    assert (content_key(data) == hashlib.blake2b(data, digest_size=16).hexdigest()) == kept


@pytest.mark.parametrize(
    "allowed, ids, message",
    [
        (LabelRange(35, None, 255), [7, 35, 40], r"ids 35, 40 out of range.*num_labels=35.*Set model.num_labels=41"),
        (LabelRange(19, None, 255), [3, 33], r"id 33 out of range.*labelIds.*num_labels=35"),
        (LabelRange(35, None, None), [3, 255], r"data\.ignore_label=255"),
        (LabelRange(35, None, 255), [26001], r"data\.instances_dir"),
        (LabelRange(35, None, 255), [26001 + i for i in range(90)], r"data\.instances_dir"),
        (LabelRange(35, None, 255), list(range(800, 3300, 20)), r"depth.*data\.labels=rgb model\.source=image"),
        (LabelRange(35, None, (255, 0)), [40], r"the ignored ids 255, 0"),
        (LabelRange(35, (7, 8), 255), [7, 11], r"id 11 out of range: model\.label_ids allows 7, 8.*ignored id 255"),
    ],
)
def test_ids_out_of_range_name_file_ids_and_remedy(allowed, ids, message, tmp_path):
    with pytest.raises(DataError, match=rf"bad\.png: label .*{message}"):
        allowed.check(torch.tensor([ids]), tmp_path / "bad.png")


def test_ids_in_range_pass(tmp_path):
    LabelRange(35, None, 255).check(torch.tensor([[0, 34, 255]]), tmp_path)
    LabelRange(35, (7, 700), 65535).check(torch.tensor([[7, 700, 65535]]), tmp_path)
