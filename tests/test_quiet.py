"""Commands print no warning of a library that a user cannot act on."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.helpers.paths import ROOT

_READ = """
import sys
from pathlib import Path
{imports}
path = Path(sys.argv[1])
print({call})
"""
READERS = {
    "picture": (
        "from trainer.data.pictures.decode import decode\n"
        "from trainer.data.pictures.opening import picture_size as size",
        "decode(b := path.read_bytes(), path).shape, size(b, path)",
    ),
    "labels": ("from trainer.data.labels.stored import stored", "stored(path.read_bytes(), path).pixels.shape"),
    "exif": ("from trainer.data.pictures.opening import stored_orientation", "stored_orientation(path.read_bytes())"),
}


def damaged_exif(path: Path) -> Path:
    """A JPEG whose orientation is whole and whose other tags point beyond the end, as editors leave them."""
    Image.new("RGB", (16, 8), (200, 10, 3)).save(path)
    exif = b"Exif\0\0II*\0\x08\0\0\0\x03\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\x0f\x01\x02\0\xff\0\0\0\xf0\xff\0\0"
    data = path.read_bytes()
    path.write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:])
    return path


def transparent_palette(path: Path) -> Path:
    picture = Image.new("RGB", (16, 8), (200, 10, 3)).convert("P", palette=Image.Palette.ADAPTIVE)
    picture.save(path, transparency=bytes([0, 128, 255]))
    return path


def large(path: Path) -> Path:
    """More pixels than Pillow thinks anyone has."""
    Image.new("1", (10000, 9500)).save(path)
    return path


@pytest.mark.parametrize(
    "reader, make, name",
    [("labels", transparent_palette, "a.png"), ("labels", large, "b.png"), ("exif", damaged_exif, "c.jpg"),
     ("picture", damaged_exif, "c.jpg"), ("picture", transparent_palette, "a.png"), ("picture", large, "b.png")],
)  # fmt: skip
def test_odd_pictures_are_read_without_a_word(reader, make, name: str, tmp_path: Path):
    imports, call = READERS[reader]
    words = [sys.executable, "-c", _READ.format(imports=imports, call=call), str(make(tmp_path / name))]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0 and done.stdout.strip() and done.stderr == ""
