"""Weights of clips: read back from files, into other lengths, and refused where something else would be computed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from trainer.errors import CheckpointError
from vit.config import Inflation, ModelConfig, SpaceTime
from vit.model.architecture import architecture
from vit.model.video import VideoTransformer, network
from vit.weights.clips import inflate
from vit.weights.load import load_pretrained
from vit.weights.reading import read
from vit.weights.writing import write

CONFIG = ModelConfig(variant="mu", depth=2, patch=4, frames=4, temporal_depth=2)


def built(**changes: Any) -> tuple[VideoTransformer, ModelConfig]:
    config = replace(CONFIG, **changes)
    net = network(architecture(config, 5, 3, (16, 16))).eval()
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.normal_(0, 0.1)
    return net, config  # type: ignore[return-value]


def test_inflation_by_hand() -> None:
    kernels = torch.tensor([6.0, 9.0]).view(2, 1, 1, 1)
    assert inflate(kernels, 3, Inflation.central)[:, 0, :, 0, 0].tolist() == [[0, 6, 0], [0, 9, 0]]
    assert inflate(kernels, 3, Inflation.mean)[:, 0, :, 0, 0].tolist() == [[2, 2, 2], [3, 3, 3]]


@pytest.mark.parametrize("kind", list(SpaceTime), ids=lambda kind: kind.value)
@pytest.mark.parametrize("tubelet", [1, 2])
def test_a_file_of_clips_is_read_as_it_was_written(kind: SpaceTime, tubelet: int, tmp_path: Path) -> None:
    net, config = built(space_time=kind, tubelet=tubelet)
    write(net.state_dict(), net.arch, tmp_path / "clips.safetensors", "safetensors")
    found = read(tmp_path / "clips.safetensors")
    again = network(found.architecture()).eval()
    assert again.arch.space_time is kind and (again.arch.frames, again.arch.tubelet) == (4, tubelet)
    again.load_state_dict(found.state)
    x = torch.randn(1, 4, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(again(x), net(x))
    with pytest.raises(CheckpointError, match="clips of 4 frames"):
        write(net.state_dict(), net.arch, tmp_path / "timm", "timm")
    other = network(net.arch)
    report = load_pretrained(other, replace(config, weights=str(tmp_path / "clips.safetensors")))
    assert not report.new and not report.dropped


def test_longer_clips_take_positions_between(tmp_path: Path) -> None:
    net, config = built()
    assert net.time_embed is not None
    with torch.no_grad():
        net.time_embed[0, 0], net.time_embed[0, 1] = 0.0, 1.0
    write(net.state_dict(), net.arch, tmp_path / "clips.safetensors", "safetensors")
    longer = network(architecture(replace(config, frames=8), 5, 3, (16, 16)))
    report = load_pretrained(longer, replace(config, frames=8, weights=str(tmp_path / "clips.safetensors")))
    assert longer.time_embed is not None and longer.time_embed[0, :, 0].tolist() == [0.0, 0.25, 0.75, 1.0]
    assert [name for name, _, _ in report.resized] == ["time_embed"]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"frames": 1}, "model.frames=4 model.tubelet=2"),
        ({"tubelet": 1}, "model.tubelet=2"),
        ({"space_time": SpaceTime.joint}, "model.space_time=factorised_attention"),
    ],
)
def test_another_network_of_clips_is_named(changes: dict[str, Any], told: str, tmp_path: Path) -> None:
    net, config = built()
    write(net.state_dict(), net.arch, tmp_path / "clips.safetensors", "safetensors")
    config = replace(config, **changes, weights=str(tmp_path / "clips.safetensors"))
    with pytest.raises(CheckpointError, match=f"it is a network of clips: {told}"):
        load_pretrained(network(architecture(config, 5, 3, (16, 16))), config)
