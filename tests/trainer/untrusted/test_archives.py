"""Zips that two readers would read differently: Python's, which is asked for names and sizes, and torch's."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from trainer.checkpoint.weights import read_pth
from trainer.errors import CheckpointError
from trainer.untrusted.limits import check_archive

END = struct.Struct("<4s4H2LH")
WIDE = struct.Struct("<4sQ2H2L4Q")
PLACE = struct.Struct("<4sLQL")


def archive(folder: Path, value: float) -> bytes:
    """What torch.save writes, packed again by zipfile."""
    torch.save({"w": torch.full((4,), value)}, folder / "made.pth")
    with zipfile.ZipFile(folder / "made.pth") as made, zipfile.ZipFile(folder / "packed.pth", "w") as packed:
        for member in made.infolist():
            packed.writestr(member.filename, made.read(member))
    return (folder / "packed.pth").read_bytes()


def ended(content: bytes, *, shift: int = 0, **wide: int) -> bytes:
    """With an end record of 64 bits, fields of which may be others, and a directory said to begin ``shift`` later."""
    mark, *disks, here, count, size, start, _ = END.unpack(content[-END.size :])
    said = {"here": here, "count": count, "size": size, "start": start} | wide
    body = content[: -END.size]
    wide_end = WIDE.pack(b"PK\6\6", 44, 45, 45, 0, 0, *said.values())
    place = PLACE.pack(b"PK\6\7", 0, len(body), 1)
    return body + wide_end + place + END.pack(mark, *disks, here, count, size, start + shift, 0)


def test_a_directory_elsewhere(tmp_path: Path) -> None:
    """zipfile saw the second archive and torch read the first."""
    first, second = archive(tmp_path, 1.0), archive(tmp_path, 2.0)
    start = END.unpack(first[-END.size :])[6]
    end = END.unpack(second[-END.size :])
    (tmp_path / "a.pth").write_bytes(first[: -END.size] + second[: -END.size] + END.pack(*end[:6], start, 0))
    assert torch.load(tmp_path / "a.pth", weights_only=True)["w"].tolist() == [1.0] * 4
    with pytest.raises(CheckpointError, match="the directory of the archive is not where its end says"):
        read_pth(tmp_path / "a.pth")


def test_whatever_else_two_readers_take_differently(tmp_path: Path) -> None:
    plain = archive(tmp_path, 1.0)
    end = END.unpack(plain[-END.size :])
    start, size = end[6], end[5]
    name = plain.index(b"made/version", start)  # in the directory
    extra = struct.pack("<2HQ", 1, 8, 1) * 2
    wide = struct.pack("<H", len(extra)).join([plain[start : name - 16], plain[name - 14 : start + size]])
    wide = wide.replace(b"made/version", b"made/version" + extra)
    (tmp_path / "b.pth").write_bytes(b"x" * 30)
    with zipfile.ZipFile(tmp_path / "b.pth", "a") as later:
        later.writestr("made/version", "3")
    cases = {
        (tmp_path / "b.pth").read_bytes(): "something precedes",
        plain + b"\0": "something follows",
        plain[:-2] + b"\1\0x": "something follows",
        plain + plain: "not where its end says",
        b"x" + plain: "not where its end says",
        b"x" * 30 + plain[: -END.size] + END.pack(*end[:6], start + 30, 0): "something precedes",
        plain[: -END.size] + END.pack(*end[:3], end[3] - 1, *end[4:]): "not where its end says",
        plain[: -END.size] + END.pack(*end[:3], 1, 1, *end[5:]): "not where its end says",
        ended(plain, start=start - 46): "the ends of the archive disagree",
        ended(plain, count=end[4] + 1): "the ends of the archive disagree",
        ended(plain, shift=1): "the ends of the archive disagree",
        plain[:start] + wide + END.pack(*end[:5], len(wide), start, 0): "has two sizes",
    }
    for content, why in cases.items():
        (tmp_path / "a.pth").write_bytes(content)
        with pytest.raises(ValueError, match=why):
            check_archive(tmp_path / "a.pth")
        with pytest.raises(CheckpointError):
            read_pth(tmp_path / "a.pth")


def test_archives_as_they_are_written(tmp_path: Path) -> None:
    for content in (plain := archive(tmp_path, 3.0), ended(plain), (tmp_path / "made.pth").read_bytes()):
        (tmp_path / "a.pth").write_bytes(content)
        assert read_pth(tmp_path / "a.pth")["w"].tolist() == [3.0] * 4
    network = torch.nn.DataParallel(torch.nn.Linear(2, 2))
    for zipped in (True, False):
        torch.save({"model": network.state_dict()}, tmp_path / "b.pth", _use_new_zipfile_serialization=zipped)
        assert list(read_pth(tmp_path / "b.pth")) == ["module.weight", "module.bias"]
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "c.npz", a=np.ones(3), b=np.zeros(2))
        check_archive(tmp_path / "c.npz")
    with zipfile.ZipFile(tmp_path / "d.zip", "w"):
        pass
    check_archive(tmp_path / "d.zip")
