"""Weights that ask for more than their files have: views of one number, packed zeros, a list of tensors that lies."""

from __future__ import annotations

import dataclasses
import pickle
import zipfile
from pathlib import Path

import pytest
import torch

from trainer.checkpoint.tensors import _Reader, load_state, save_tensors
from trainer.checkpoint.weights import read_pth
from trainer.errors import CheckpointError


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
    ):
        (state / ".metadata").write_bytes(content)
        with pytest.raises(CheckpointError, match="damaged"):
            load_state(state)
