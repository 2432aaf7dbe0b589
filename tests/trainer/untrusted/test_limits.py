"""Claims of headers against the bytes that are there: refused in milliseconds, under a limit of memory."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.paths import ROOT
from trainer.untrusted.arrays import open_npz, read_npy
from trainer.untrusted.limits import GENEROUS, MAX_PIXELS, TooLargeError, check_names, check_size, set_max_pixels

TERABYTES = 2**42


def npy_of(shape: tuple[int, ...], dtype: str = "<f4", content: bytes = b"") -> bytes:
    head = repr({"descr": dtype, "fortran_order": False, "shape": shape}).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + content


def zipped(path: Path, members: list[tuple[str, bytes]]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def test_what_a_file_may_ask_for() -> None:
    check_size(GENEROUS, 0, "x")
    check_size(64 * GENEROUS, GENEROUS, "x")
    for claimed, present in ((GENEROUS + 1, 10), (64 * GENEROUS + 1, GENEROUS), (-1, 10)):
        with pytest.raises(TooLargeError, match="no more than"):
            check_size(claimed, present, "x")


@pytest.mark.parametrize("names", [["a", "a"], ["../a"], ["a/../../b"], ["/etc/passwd"], ["..\\a"], ["C:\\a"]])
def test_names_that_lead_out_or_come_twice(names: list[str]) -> None:
    with pytest.raises(ValueError, match=r"leads out of the archive|is there twice"):
        check_names(names)
    check_names(["a", "b/a", "..a", "a..b/c"])


def test_arrays_come_back(tmp_path: Path) -> None:
    stored = {"a": np.arange(6.0).reshape(2, 3), "b": np.array("text"), "zeros": np.zeros(2**20)}
    np.savez_compressed(tmp_path / "a.npz", **stored)
    with open_npz(tmp_path / "a.npz") as arrays:
        assert all(np.array_equal(arrays[name], stored[name]) for name in stored)
    np.save(tmp_path / "a.npy", stored["a"])
    assert read_npy(tmp_path / "a.npy").tolist() == read_npy(tmp_path / "a.npy", "r").tolist() == stored["a"].tolist()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (npy_of((TERABYTES,)), "claims"),
        (npy_of((2**62, 2**62)), "claims"),
        (npy_of((-1, 4)), "negative"),
        (npy_of((2**20, 0, 3), content=b""), None),  # no bytes, and none claimed
        (npy_of((0, 2**64, 3), content=b""), "entries"),  # which NumPy cannot count
        (npy_of((2**40,), "|V0"), "entries"),
        (npy_of((3,), "|O", b"\x80\x04N."), "never unpickled"),
        (b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 65535, "header|Header"),
        (b"", "EOF|magic|empty|No data"),
    ],
)
def test_a_header_that_claims_too_much(tmp_path: Path, content: bytes, why: str | None) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    zipped(tmp_path / "a.npz", [("a.npy", content)])
    if why is None:
        assert read_npy(tmp_path / "a.npy").size == 0
        return
    with pytest.raises((ValueError, EOFError, RuntimeError), match=why):
        read_npy(tmp_path / "a.npy")
    with pytest.raises((ValueError, EOFError, RuntimeError), match=why), open_npz(tmp_path / "a.npz") as arrays:
        arrays["a"]


def test_members_of_one_name(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        zipped(tmp_path / "a.npz", [("a.npy", npy_of((0,))), ("a.npy", npy_of((0,)))])
    with pytest.raises(ValueError, match="twice"), open_npz(tmp_path / "a.npz"):
        pass


def bombs(folder: Path) -> list[str]:
    """Files of kilobytes that ask for terabytes, and the calls that read them."""
    (folder / "claims.npy").write_bytes(npy_of((TERABYTES,)))
    zipped(folder / "claims.npz", [("a.npy", npy_of((TERABYTES,)))])
    header = b'{"a":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}}'
    (folder / "claims.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    (folder / "long.safetensors").write_bytes(struct.pack("<Q", 2**60) + b"{}")
    (folder / "claims.flo").write_bytes(b"PIEH" + struct.pack("<ii", 2**30, 2**10))
    png = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\x0dIHDR" + struct.pack(">IIBBBBB", 2**17, 2**17, 16, 2, 0, 0, 0)
    png += struct.pack(">I", zlib.crc32(png[12:29])) + b"\0\0\0\0IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    (folder / "claims.png").write_bytes(png)
    return [
        "from trainer.untrusted.arrays import read_npy; read_npy(at / 'claims.npy')",
        "from vit.weights.names.of_google import read_arrays; read_arrays(at / 'claims.npz')",
        "from trainer.checkpoint.weights import read_safetensors; read_safetensors(at / 'claims.safetensors')",
        "from trainer.checkpoint.weights import read_safetensors; read_safetensors(at / 'long.safetensors')",
        "from vid2vid.flow.estimate import read_flow; read_flow(at / 'claims.flo')",
        "from vid2vid.flow.estimate import read_flow; read_flow(at / 'claims.png')",
        "from trainer.data.pictures.decode import decode; decode((at / 'claims.png').read_bytes(), 'claims.png')",
    ]


_PROGRAM = """
import resource, sys, time
from pathlib import Path
import torch, torchvision.io, cv2, safetensors.torch
import trainer.checkpoint.weights, vit.weights.names.of_google, vid2vid.flow.estimate, trainer.data.pictures.decode
at = Path(sys.argv[1])
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**28, used + 2**28))
for line in sys.argv[2:]:
    before = time.process_time()
    try:
        exec(line)
        print("read", line)
    except (ValueError, trainer.errors.UserError) as error:
        seconds = time.process_time() - before
        print("slow" if seconds > 1 else "refused", type(error).__name__, error)
    except BaseException as error:
        print("wrong", type(error).__name__, error, line)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of address space are Linux's")
def test_terabytes_are_refused_at_once_and_in_little_memory(tmp_path: Path) -> None:
    """With 256 MiB to spare, in less than a second of processor time each: usually milliseconds."""
    lines = bombs(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(tmp_path), *lines], cwd=ROOT, capture_output=True, text=True, check=True
    )
    said = done.stdout.splitlines()
    assert [line.split()[0] for line in said] == ["refused"] * len(lines), done.stdout


def test_zeros_that_unpack_to_gigabytes(tmp_path: Path) -> None:
    """A packed array of a size that is really there, chunk by chunk: 512 MiB in half a megabyte."""
    zeros = b"\0" * 2**24
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.npy", "w") as file:
        file.write(npy_of((2**29,), "|u1"))
        for _ in range(32):
            file.write(zeros)
    assert os.path.getsize(tmp_path / "a.npz") < 2**20
    with pytest.raises(TooLargeError, match="unpacks to"), open_npz(tmp_path / "a.npz"):
        pass


def test_the_limit_of_pixels_goes_to_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VIVID_MAX_PIXELS", raising=False)
    set_max_pixels(12)
    program = "from trainer.untrusted.limits import max_pixels; print(max_pixels())"
    told = [subprocess.check_output([sys.executable, "-c", program], cwd=ROOT, text=True)]
    set_max_pixels(MAX_PIXELS)
    told.append(subprocess.check_output([sys.executable, "-c", program], cwd=ROOT, text=True))
    assert [int(line) for line in told] == [12, MAX_PIXELS] and "VIVID_MAX_PIXELS" not in os.environ
