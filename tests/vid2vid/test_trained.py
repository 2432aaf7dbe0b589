"""A generator out of a run: which weights, of which checkpoint, at which stage; what does not fit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.helpers.made_run import make_run, street_config
from trainer.errors import CheckpointError, ConfigError
from vid2vid.config import Vid2VidStage
from vid2vid.generate.video import generate_video, open_clip
from vid2vid.trained import load_generator


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    make_run(folder, street_config())
    return folder


# Weights


def test_averaged_weights_are_used_and_named(tmp_path: Path):
    kept = make_run(tmp_path / "with", street_config())
    loaded = load_generator(street_config(), tmp_path / "with")
    assert loaded.averaged and "averaged" in loaded.weights_line and loaded.step == 7 and loaded.samples_seen == 14
    for name, value in kept.state_dict().items():
        assert torch.equal(value, loaded.generator.state_dict()[name])
    make_run(tmp_path / "without", street_config(), ema=False)
    raw = load_generator(street_config(), tmp_path / "without")
    assert not raw.averaged and "no averaged" in raw.weights_line
    assert not raw.generator.training and not any(p.requires_grad for p in raw.generator.parameters())


def test_a_checkpoint_of_another_architecture_says_what_differs(run_dir: Path):
    config = street_config()
    config.model.ngf = 8
    with pytest.raises(CheckpointError, match=r"another architecture(?s:.*)other shape"):
        load_generator(config, run_dir)
    config = street_config()
    config.model.blocks = 4
    with pytest.raises(CheckpointError, match="missing"):
        load_generator(config, run_dir)


def test_checkpoints_by_name_path_and_not_at_all(run_dir: Path, tmp_path: Path):
    assert load_generator(street_config(), run_dir, "step-00000007").checkpoint.name == "step-00000007"
    file = run_dir / "checkpoints" / "step-00000007" / "ema.safetensors"
    assert load_generator(street_config(), run_dir, str(file)).averaged
    with pytest.raises(CheckpointError, match="step-00000007"):
        load_generator(street_config(), run_dir, "step-00000008")
    with pytest.raises(CheckpointError, match="no finished checkpoint"):
        load_generator(street_config(), tmp_path)


def test_a_run_stopped_at_a_coarse_stage_is_used_at_that_stage(tmp_path: Path):
    config = street_config((64, 128))
    config.model.scales = 2
    config.curriculum.stages = {
        "coarse": Vid2VidStage(downscale=2, scales=1),
        "fine": Vid2VidStage(start=0.5, scales=2),
    }
    make_run(tmp_path, config, stage="coarse", resolution=[32, 64])
    loaded = load_generator(config, tmp_path)
    assert loaded.config.resolution == [32, 64] and loaded.scales == 1
    assert config.resolution == [64, 128], "the caller's configuration is left alone"
    made = generate_video(loaded, open_clip("street", loaded.config, 0, 2), tmp_path / "x.mp4")
    assert made.size == (32, 64)
    assert load_generator(config, tmp_path, resolution=[16, 32]).config.resolution == [16, 32]
    with pytest.raises(ConfigError, match="divisible by 4"):
        load_generator(config, tmp_path, resolution=[30, 64])
