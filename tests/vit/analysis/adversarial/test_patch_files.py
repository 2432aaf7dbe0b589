"""Patches written and read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from trainer.errors import DataError
from trainer.records.media import write_png
from vit.analysis.adversarial.patch_files import read_patch, write_patch


@pytest.mark.parametrize("channels", [1, 3])
def test_both_files_hold_the_patch(tmp_path: Path, channels: int):
    patch = torch.arange(channels * 16).view(channels, 4, 4).byte()
    write_patch(tmp_path / "one.npy", patch)
    for ending in ("npy", "png"):
        assert torch.equal(read_patch(tmp_path / f"one.{ending}", "patch", channels), patch)


def test_files_that_are_none(tmp_path: Path):
    write_png(tmp_path / "wide.png", np.zeros((4, 5, 3), np.uint8))
    np.save(tmp_path / "floats.npy", np.zeros((4, 4, 3)))
    np.save(tmp_path / "grey.npy", np.zeros((4, 4), np.uint8))
    (tmp_path / "text.png").write_text("no picture")
    for name, said in (
        ("wide.png", r"a square of bytes"),
        ("floats.npy", r"float64 \(4, 4, 3\)"),
        ("grey.npy", r"has 1 channels, but the pictures have 3"),
        ("text.png", r"cannot be read"),
        ("gone.png", r"no such file"),
        ("patch.gif", r"a patch is a .png"),
    ):
        with pytest.raises(DataError, match=f"patch=.*{name}.*{said}"):
            read_patch(tmp_path / name, "patch", 3)
