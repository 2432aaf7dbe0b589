"""Segmenters of others: their classes told in those of the data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from trainer.errors import CheckpointError, ConfigError
from vid2vid.config import Vid2VidConfig
from vid2vid.evaluate import other_segmenter
from vid2vid.evaluate.chosen import build_clip_metrics
from vid2vid.evaluate.other_segmenter import OtherSegmenter
from vid2vid.prepare.networks import Segmenter
from vid2vid.segmenter.classes import Classes

CPU = torch.device("cpu")
KNOWN = Classes((7, 26, 24), ("road", "car", "person"))


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Takes the place of the file: the class of a pixel is its red value."""

    def put(*names: str) -> None:
        def ids(pixels: np.ndarray) -> Tensor:
            assert pixels.dtype == np.uint8 and pixels.shape[-1] == 3
            return torch.from_numpy(pixels[..., 0].astype(np.int64))

        monkeypatch.setattr(other_segmenter, "load_segmenter", lambda path, device: Segmenter(ids, names))

    return put


def predicted(reader: OtherSegmenter, classes: list[int]) -> list[int]:
    frames = torch.tensor(classes, dtype=torch.uint8).reshape(1, 1, 1, -1).expand(2, 3, 1, -1)
    found = reader.predict(frames)
    assert found.shape == (2, 1, len(classes)) and torch.equal(found[0], found[1])
    return found[0, 0].tolist()


def test_classes_of_the_same_name_are_the_same(network: Callable[..., None]) -> None:
    network("wall", "road, route", "tree", "Car")
    reader = OtherSegmenter("transformers:x", None, KNOWN, CPU)
    assert reader.classes == Classes((7, 26), ("road", "car"))
    assert predicted(reader, [0, 1, 2, 3]) == [-1, 0, -1, 1]
    assert "2 of the data's classes apart, not person" in reader.told
    assert reader.classes.of(torch.tensor([24, 26])).tolist() == [-1, 1], "people count nowhere"


def test_pairs_say_which_is_which(network: Callable[..., None]) -> None:
    network("a", "b", "c")
    reader = OtherSegmenter("torchvision:x", "0:26,2:26", KNOWN, CPU)
    assert predicted(reader, [0, 1, 2]) == [0, -1, 0] and reader.classes.ids == (26,)
    with pytest.raises(ConfigError, match=r"0\.\.2"):
        OtherSegmenter("torchvision:x", "3:26", KNOWN, CPU)
    with pytest.raises(ConfigError, match=r"segmenter_classes=0:26,1:99: 99: no class of the data \(7 road, 26 car, "):
        OtherSegmenter("torchvision:x", "0:26,1:99", KNOWN, CPU)
    with pytest.raises(ConfigError, match="segmenter_classes=CLASS:ID"):
        OtherSegmenter("torchvision:x", None, KNOWN, CPU)


def test_what_is_missing_is_named_by_the_key_of_this_command(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"segmenter=torchvision:{tmp_path / 'absent'}: no such file"):
        build_clip_metrics(segmenter=f"torchvision:{tmp_path / 'absent'}", config=Vid2VidConfig(), device=CPU)
    (tmp_path / "other.pth").write_bytes(b"no archive")
    with pytest.raises(CheckpointError, match=r"other\.pth"):
        build_clip_metrics(segmenter=f"torchvision:{tmp_path / 'other.pth'}", config=Vid2VidConfig(), device=CPU)
    for options in ({"segmenter_classes": "0:1"}, {"segmenter_classes": "0:1", "segmenter": "own.safetensors"}):
        with pytest.raises(ConfigError, match="segmenter_classes"):
            build_clip_metrics(config=Vid2VidConfig(), device=CPU, **options)
