"""Clips that are played forth and back: the same frames in reverse, and flow of the direction that they are seen in."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.helpers.made_frames import label_map, picture, save
from vid2vid.config import FlowMethod, Vid2VidConfig, Vid2VidStage
from vid2vid.data import build_dataset
from vid2vid.data.split import longest_clip, shortest_clip
from vid2vid.model.warp import warp


def clip(config: Vid2VidConfig, frames: int, back: int) -> dict[str, torch.Tensor]:
    dataset = build_dataset(config, "train", (config.resolution[0], config.resolution[1]), frames, back)
    sample = dataset.sample(0, np.random.default_rng(3))
    return {key: torch.as_tensor(value) for key, value in sample.items() if key != "name"}


def error(sample: dict[str, torch.Tensor], t: int, flow: torch.Tensor) -> float:
    """Mean difference of frame t to the frame before it, warped, where the flow is trusted; grey values."""
    before, now = (sample["images"][i][None].float() for i in (t - 1, t))
    return float(((warp(before, flow[None].float()) - now) * sample["confidence"][t]).abs().mean())


def test_the_street_goes_back_with_exact_flow() -> None:
    config = Vid2VidConfig(resolution=[32, 64])
    config.data.flow = FlowMethod.exact
    config.data.flip = 1.0
    plain, sample = clip(config, 5, 0), clip(config, 5, 4)
    for key, value in plain.items():
        assert torch.equal(sample[key][:5], value), key
        if key in ("images", "labels", "instances"):
            assert torch.equal(sample[key][5:], value[1:].flip(0)), key
    assert float(sample["flow"][5].abs().max()) < 1e-3 and sample["confidence"][5].float().mean() > 0.5, (
        "where it turns"
    )
    for t in (6, 7, 8):
        forth = sample["flow"][10 - t]  # between the same frames, the other way
        assert sample["confidence"][t].float().mean() > 0.3
        assert error(sample, t, sample["flow"][t]) < 0.5 * error(sample, t, forth)
    estimated = clip(Vid2VidConfig(resolution=[32, 64]), 3, 3)  # data.flow=dis
    assert estimated["flow"].shape[0] == 6 and not estimated["flow"][3].float().abs().max() > 0.1


@pytest.fixture
def moving(tmp_path: Path) -> Path:
    """A scene that moves to the left by 2 pixels a frame: flow is +2 forth, -2 back."""
    wide = picture(0, 40, 160)
    for i in range(8):
        save(tmp_path / "data" / "labels" / "a" / f"f{i}.png", label_map(i))
        save(tmp_path / "data" / "images" / "a" / f"f{i}.png", wide[:, 2 * i : 2 * i + 80])
    return tmp_path / "data"


@pytest.mark.parametrize("cache", [True, False])
def test_estimated_flow_is_that_of_the_direction(moving: Path, folder_config, cache: bool) -> None:  # type: ignore[no-untyped-def]
    config = folder_config(moving, flow=FlowMethod.dis, flip=0.0)
    config.resolution = [40, 80]
    config.data.flow_cache = config.data.flow_cache if cache else None
    sample = clip(config, 4, 3)
    assert torch.equal(sample["images"][4:], sample["images"][1:4].flip(0))
    middle = sample["flow"][:, 0, 8:-8, 16:-16].float()
    found = [float(each.median()) for each in middle]
    assert found == pytest.approx([0, 2, 2, 2, 0, -2, -2], abs=0.2)
    assert [bool(each.float().mean() > 0.5) for each in sample["confidence"]] == [False, *[True] * 6]


def test_flow_files_have_one_direction(moving: Path, folder_config) -> None:  # type: ignore[no-untyped-def]
    for i in range(8):
        (moving / "flow" / "a").mkdir(parents=True, exist_ok=True)
        flow = np.stack([np.full((40, 80), 2.0), np.zeros((40, 80))]).astype(np.float32)
        np.savez(moving / "flow" / "a" / f"f{i}.npz", flow=flow)
    config = folder_config(moving, flow=FlowMethod.precomputed, flow_dir="flow", flip=0.0)
    config.resolution = [40, 80]
    sample = clip(config, 3, 3)
    assert sample["flow"][:, 0, 20, 40].tolist() == [0, 2, 2, 0, 0, 0]
    assert sample["confidence"][:, 0, 20, 40].tolist() == [0, 1, 1, 1, 0, 0]


def test_half_of_the_frames_are_read(folder_config) -> None:  # type: ignore[no-untyped-def]
    config = folder_config(None)
    config.curriculum.stages = {
        "there": Vid2VidStage(frames=12, palindrome=True),
        "plain": Vid2VidStage(start=0.5, frames=9),
    }
    assert (longest_clip(config), shortest_clip(config)) == (9, 6)
