"""A feature encoder joins a generator that had none, or comes along with one that has."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from trainer.checkpoint.directory import Checkpoints
from trainer.checkpoint.weights import network_tensors, save_weights
from trainer.config.resolve import plain
from trainer.errors import CheckpointError
from vid2vid.config import ModelConfig, Vid2VidConfig
from vid2vid.task import Vid2VidTask
from vid2vid.weights.originals import to_originals

D = 3


def config_of(ids: list[int], styles: int, weights: str | None = None) -> Vid2VidConfig:
    sizes: dict[str, Any] = {"ngf": 4, "downsamplings": 2, "blocks": 2, "nef": 4, "style_downsamplings": 2, "ndf": 4}
    model = ModelConfig(**sizes, label_ids=ids, style_channels=styles, weights=weights, lambda_perceptual=0)
    return Vid2VidConfig(model=model)


def small(folder: Path, styles: int, named: bool = True) -> tuple[Vid2VidTask, str]:
    torch.manual_seed(1)
    config = config_of([7, 26], styles)
    task = Vid2VidTask(config)
    weights = network_tensors(task.networks())
    if named:
        Checkpoints(folder).save(3, {"nothing": 0}, weights, None, {"config": plain(config)})
        return task, str(folder)
    save_weights(folder / "weights.safetensors", weights)
    return task, str(folder / "weights.safetensors")


@torch.no_grad()
def frames(task: Vid2VidTask, styles: Tensor) -> Tensor:
    labels = torch.tensor([7, 26])[torch.randint(0, 2, (1, 3, 16, 16), generator=torch.Generator().manual_seed(4))]
    source = task.nets.encoder.encode({"labels": labels})
    return task.nets.generator(torch.cat([source, styles], dim=2)).frames


@pytest.mark.parametrize("named", [True, False])
def test_features_of_a_new_encoder_change_nothing_at_first(tmp_path: Path, named: bool) -> None:
    task, path = small(tmp_path, 0, named)
    other = Vid2VidTask(config_of([26, 11, 7] if named else [7, 26], D, path))
    z = torch.randn(1, 3, D, 16, 16)
    torch.testing.assert_close(frames(task, z[:, :, :0]), frames(other, z))
    told = other.notes()[-1]
    assert "not in it, so drawn anew: style" in told and "features of E" in told


@pytest.mark.parametrize("named", [True, False])
def test_an_encoder_comes_along_and_its_features_stay_last(tmp_path: Path, named: bool) -> None:
    task, path = small(tmp_path, D, named)
    other = Vid2VidTask(config_of([26, 11, 7] if named else [7, 26], D, path))
    z = torch.randn(1, 3, D, 16, 16)
    assert not torch.allclose(frames(task, z), frames(task, -z))
    torch.testing.assert_close(frames(task, z), frames(other, z))
    theirs = other.networks()["style"].state_dict()
    assert all(torch.equal(x, theirs[name]) for name, x in task.networks()["style"].state_dict().items())


def test_the_originals_format_has_no_place_for_it() -> None:
    weights = network_tensors(Vid2VidTask(config_of([7, 26], D)).networks())
    with pytest.raises(CheckpointError, match="feature encoder"):
        to_originals(weights)
