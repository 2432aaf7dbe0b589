"""Weights that ask for more than their files have: views of one number, packed zeros, a list of tensors that lies."""

from __future__ import annotations

import dataclasses
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.helpers.made_classifier import mu_config
from trainer.checkpoint.tensors import _Reader, load_state, save_tensors
from trainer.checkpoint.weights import load_plain, read_pth
from trainer.errors import CheckpointError
from vit.model.transformer import VisionTransformer, architecture
from vit.weights.files import _load_torch
from vit.weights.reading import read


def test_a_view_of_one_number(tmp_path: Path) -> None:
    """Steps of 0 make any size of it, and whoever copies the tensor takes that much memory."""
    torch.save({"w": torch.ones(1).expand(1000), "tied": torch.ones(4, 2).t()}, tmp_path / "a.pth")
    assert read_pth(tmp_path / "a.pth")["w"].sum() == 1000
    torch.save({"model": {"w": torch.ones(1).expand(2**20, 2**20)}}, tmp_path / "b.pth")
    with pytest.raises(CheckpointError, match="a tensor of 1048576x1048576 asks for 4,398,046,511,104 bytes"):
        read_pth(tmp_path / "b.pth")


def test_zeros_that_were_packed(tmp_path: Path) -> None:
    """torch itself packs nothing, but its reader unpacks."""
    torch.save({"w": torch.zeros(4)}, tmp_path / "a.pth")
    with (
        zipfile.ZipFile(tmp_path / "a.pth") as small,
        zipfile.ZipFile(tmp_path / "b.pth", "w", zipfile.ZIP_DEFLATED) as large,
    ):
        for name in small.namelist():
            with large.open(name, "w") as member:
                member.write(small.read(name))
                for _ in range(20 if name.endswith("data/0") else 0):
                    member.write(bytes(2**24))
    assert (tmp_path / "b.pth").stat().st_size < 2**20
    with pytest.raises(CheckpointError, match="what it unpacks to asks for"):
        read_pth(tmp_path / "b.pth")


def pickled(path: Path, value: bytes) -> Path:
    """What torch.save writes, with a pickle of ours in it: ``{"w": value}``."""
    torch.save({}, path.with_suffix(".base"))
    with zipfile.ZipFile(path.with_suffix(".base")) as plain, zipfile.ZipFile(path, "w") as other:
        for name in plain.namelist():
            ours = b"\x80\x02}q\x00X\x01\0\0\0w" + value + b"s."
            other.writestr(name, ours if name.endswith("data.pkl") else plain.read(name))
    return path


def number(value: int) -> bytes:
    return b"\x8a\x08" + value.to_bytes(8, "little")


LATIN = b"X\x04\0\0\0abcdX\x06\0\0\0latin1\x86R"
HEX = b"X\x09\0\0\0hex_codec\x86R"
NESTED = b"]q\x01K\x01a" + b"".join(
    b"]q%c(h%ch%ce" % (level + 1, level, level) for level in range(1, 60)
)  # each within the next, twice
PAIRS = b"q\x05h\x05\x86" * 60  # tuples: each is hashed as often as it would be there


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (b"h\x00", "is in itself"),  # the dict itself
        (b"]q\x01(K\x01h\x01e", "is in itself"),
        (b"]q\x01(h\x01h\x01h\x00e", "is in itself"),
        (b"(" + NESTED + b"t", "more than 10,000,000 values"),
        (b"}K\x01" + PAIRS + b"K\x01s", "more than 10,000,000 values"),
        (b"}K\x01" + PAIRS[: 5 * 18] + b"K\x01s" + b"h\x05K\x01s" * 100, "more than 10,000,000 values"),
        (b"(X\x07\0\0\0storagectorch\nFloatStorage\nK\x01" + PAIRS + b"X\x03\0\0\0cpuK\x01tQ", "10,000,000 values"),
        (b"(" + NESTED + b"t)R", "it calls what is no function"),
        (b"(" + NESTED + b"t)\x81", "it calls what is no function"),
        (b"N" + b"\x85" * 10**5, "more than 100 deep"),
        (b"cbuiltins\nbytearray\n" + number(2**40) + b"\x85R", "asks for bytes that are not in it"),
        (b"c_codecs\nencode\n" * 40 + LATIN + HEX * 39, "has bytes encoded by 'hex_codec'"),
        (b"ctorch\nTensor\n" + number(2**28) + b"\x85R", "all its tensors asks for 1,073,741,824 bytes"),
        (
            b"ctorch._utils\n_rebuild_meta_tensor_no_storage\n(ctorch\nfloat32\nK\x04\x85K\x01\x85\x89tR",
            "a tensor of 4 has a size but no values",
        ),
    ],
    ids=[
        *("dict in itself", "list in itself", "twice", "doubled", "key", "keys", "storage", "called", "class", "deep"),
        *("bytearray", "codecs", "empty tensor", "meta"),
    ],
)
def test_a_pickle_that_says_more_than_it_holds(tmp_path: Path, value: bytes, why: str) -> None:
    """No code is needed to fill the memory, or to be followed for ever."""
    path = pickled(tmp_path / "a.pth", value)
    for reader in (read_pth, read):
        with pytest.raises(CheckpointError, match=why):
            reader(path)


def test_a_number_of_numpy_s_has_its_bytes(tmp_path: Path) -> None:
    start = b"cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\nX\x0b\0\0\0V1900000000\x85R"
    with pytest.raises(CheckpointError, match=r"a number of 1,900,000,000 bytes that are not in it|missing 1"):
        read(pickled(tmp_path / "a.pth", start + b"\x85R"))
    with pytest.raises(CheckpointError, match="a number of 1,900,000,000 bytes that are not in it"):
        read(pickled(tmp_path / "a.pth", start + b"N\x86R"))
    numbers = [np.float64(0.25), np.int64(-3), np.bool_(True), np.float32(0.5)]
    torch.save({"args": numbers}, tmp_path / "b.pth")
    assert _load_torch(tmp_path / "b.pth") == {"args": numbers}


@pytest.mark.filterwarnings("ignore:.*[Ss]parse")
def test_sparse_tensors_are_told(tmp_path: Path) -> None:
    """A few bytes are any size, and a network of that size would be made to take them."""
    far = torch.sparse_coo_tensor(torch.zeros(2, 1, dtype=torch.long), torch.ones(1), (2**20, 2**20))
    torch.save({"w": far}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="is sparse, quantised or nested: give a dense one"):
        read_pth(tmp_path / "a.pth")


@pytest.mark.parametrize(
    ("name", "shape", "why"),
    [
        ("blocks.99999999.norm1.weight", (192,), r"names a block 99999999, and has \d+ tensors in all"),
        ("patch_embed.proj.weight", (192, 3, 0, 0), "of 192x3x0x0 has no numbers in it"),
    ],
)
def test_numbers_of_blocks_and_sides_that_are_none(name: str, shape: tuple[int, ...], why: str, tmp_path: Path) -> None:
    """For each block that a name speaks of, a hundred million of them, names were made that were missing."""
    model = VisionTransformer(architecture(mu_config().model, 10, 3, (32, 32)))
    save_file({**model.state_dict(), name: torch.ones(shape)}, tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match=why):
        read(tmp_path / "a.safetensors")


def test_bytes_that_pickle_writes_come_back(tmp_path: Path) -> None:
    content = {"bytes": bytes(range(256)), "array": bytearray(b"abc\xff"), "none": bytearray(), "w": torch.ones(2)}
    torch.save(content, tmp_path / "a.pth")
    found = load_plain(tmp_path / "a.pth")
    assert all(found[name] == content[name] for name in ("bytes", "array", "none")) and found["w"].sum() == 2


def test_a_checkpoint_s_list_of_tensors(tmp_path: Path) -> None:
    """Its sizes are held against its files before memory is taken, and damage of any kind is a readable error."""
    state = tmp_path / "state"
    tree = save_tensors(state, {"a": torch.arange(6.0), "n": 3})
    (state / "tree.json").write_text(tree)
    assert load_state(state)["a"].tolist() == [0, 1, 2, 3, 4, 5]
    metadata = _Reader(state).read_metadata()
    metadata.storage_meta = None
    record = metadata.state_dict_metadata["a"]
    metadata.state_dict_metadata["a"] = dataclasses.replace(record, size=torch.Size([2**40]))  # type: ignore[type-var]
    (state / ".metadata").write_bytes(pickle.dumps(metadata))
    with pytest.raises(CheckpointError, match="claim 4,398,046,511,104 bytes, its files have"):
        load_state(state)
    for content in (
        b"",
        b"\x80\x04.",
        b"\x80\x05K\x01.",
        b"(((((",
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"I1x\n.",
        b"\x80\x04}K\x01" + PAIRS + b"K\x01s.",
    ):
        (state / ".metadata").write_bytes(content)
        with pytest.raises(CheckpointError, match="damaged"):
            load_state(state)
