"""A run of a classifier as the backbone of vid2vid's perceptual loss, as ``train.py`` gives it."""

from pathlib import Path

import pytest
import torch

from tests.helpers.made_classifier import make_run, mu_config
from train import TASKS
from trainer.cli import compose
from trainer.errors import CheckpointError
from vid2vid.losses.backbone import build_backbone
from vit.backbone import read_run


def test_a_run_of_a_vit_judges_frames(tmp_path: Path) -> None:
    made = make_run(tmp_path / "vit", mu_config())
    words = ["model=vid2vid_tiny", "model.loss_perceptual=dino", f"model.perceptual_weights={tmp_path / 'vit'}"]
    config = compose(words, {name: entry.schema for name, entry in TASKS.items()})
    assert TASKS["vid2vid"].problems(config) == []
    backbone = TASKS["vid2vid"].build(config).frozen()["perceptual"]
    own = made.networks()["model"].state_dict()
    assert all(torch.equal(value, own[key]) for key, value in backbone.network.state_dict().items())
    frames = torch.rand(2, 3, 32, 64).requires_grad_()
    backbone.distance(frames, backbone.features(torch.rand(2, 3, 32, 64))).backward()
    assert frames.grad is not None and float(frames.grad.abs().sum()) > 0
    assert backbone(frames)[0].shape[-2:] == (32 // backbone.patch, 64 // backbone.patch)


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    config = compose(["model=vid2vid_tiny"], {"vid2vid": TASKS["vid2vid"].schema})
    config.model.perceptual_weights = str(tmp_path)
    with pytest.raises(CheckpointError, match="is no run of a classifier"):
        build_backbone(config.model, read_run)
