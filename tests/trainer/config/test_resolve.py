"""Stored configurations: read back as data, compared with what is asked for now."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from tests.helpers.composed import write_run
from train import SCHEMAS, TASKS
from trainer.cli import compose, load_run
from trainer.config.resolve import check_resume, config_diff, plain, resolve
from trainer.errors import CheckpointError, ConfigError
from vid2vid.config import Gan, Upsample


def test_going_on_with_another_model_is_refused(tmp_path: Path) -> None:
    run_dir = write_run(tmp_path, ["model=vid2vid_tiny"])
    quiet = compose(
        ["model=vid2vid_tiny", "trainer.log_every=7", "trainer.keep=9", "logger.tensorboard=false"], SCHEMAS
    )
    assert check_resume(quiet, run_dir) == [], "what decides nothing"
    longer = compose(["model=vid2vid_tiny", "trainer.max_samples=99", "trainer.precision=fp16"], SCHEMAS)
    before = compose(["model=vid2vid_tiny"], SCHEMAS).trainer.max_samples
    assert check_resume(longer, run_dir) == [
        f"trainer.max_samples: {before} -> 99",
        "trainer.precision: auto -> fp16",
    ]
    passes = compose(["model=vid2vid_tiny", "trainer.max_epochs=2"], SCHEMAS)
    assert "trainer.max_epochs: null -> 2.0" in check_resume(passes, run_dir)
    other_data = compose(["model=vid2vid_tiny", "data.clips=9"], SCHEMAS)
    assert check_resume(other_data, run_dir) == ["data.clips: 8 -> 9"]
    other_model = compose(["model=vid2vid_tiny", "model.ngf=8"], SCHEMAS)
    with pytest.raises(CheckpointError, match=r"model.ngf: 4 -> 8[\s\S]*trainer.resume=never"):
        check_resume(other_model, run_dir)
    other_model.trainer.resume = "never"
    assert check_resume(other_model, run_dir) == []
    assert check_resume(other_model, tmp_path / "runs" / "new") == []


def test_a_run_of_the_former_default_is_told_how_it_goes_on(tmp_path: Path) -> None:
    """``model=vid2vid`` asks for other parts than a run of ``vid2vid_2018`` has; the command that is named works."""
    run_dir = write_run(tmp_path, ["model=vid2vid_tiny", "model.upsample=transposed", "model.gan=lsgan"])
    with pytest.raises(CheckpointError) as refused:
        check_resume(compose(["model=vid2vid_tiny"], SCHEMAS), run_dir)
    text = str(refused.value)
    assert "model.upsample: transposed -> nearest" in text and "model.gan: lsgan -> relativistic" in text
    words = shlex.split(text.partition("`")[2].partition("`")[0])
    assert words == ["python", "train.py", f"run={run_dir}"]
    again = load_run(words[2].removeprefix("run="), SCHEMAS, ["trainer.max_steps=9"])
    assert again.model.upsample is Upsample.transposed and again.model.gan is Gan.lsgan
    assert check_resume(again, run_dir) == ["trainer.max_steps: null -> 9"]


@pytest.mark.parametrize("kind", ["patch", "false", "segmenting"])
def test_settings_that_are_not_read_are_of_no_account(kind: str, tmp_path: Path) -> None:
    """Those of a D_I that segments have had other defaults: runs with another D_I go on by either command."""
    words = ["model=vid2vid_tiny", f"model.image_discriminator={kind}"]
    before = [*words, "model.segmenting_feature_matching=false", "model.segmenting_gamma=null"]
    run_dir = write_run(tmp_path, before)
    again = load_run(run_dir, SCHEMAS)
    assert again.model.segmenting_feature_matching is False
    assert TASKS["vid2vid"].problems(again) == [] and check_resume(again, run_dir) == []
    if kind != "segmenting":
        assert check_resume(compose(words, SCHEMAS), run_dir) == []
        return
    with pytest.raises(CheckpointError) as refused:
        check_resume(compose(words, SCHEMAS), run_dir)
    assert str(refused.value).count("model.segmenting_") == 2


def test_a_run_that_is_too_old_for_a_key_has_its_default(tmp_path: Path) -> None:
    run_dir = tmp_path / "runs" / "a"
    (run_dir / "checkpoints").mkdir(parents=True)
    (run_dir / "checkpoints" / "latest").write_text("step-00000001\n")
    config = compose(["model=vid2vid_tiny", "name=a"], SCHEMAS)
    stored = plain(config)
    del stored["model"]["video_windows"], stored["trainer"]["budget"], stored["data"]["label_format"]
    (run_dir / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(stored)))
    assert check_resume(config, run_dir) == []
    other = compose(["model=vid2vid_tiny", "name=a", "model.video_windows=aligned"], SCHEMAS)
    with pytest.raises(CheckpointError, match=r"model\.video_windows: random -> aligned"):
        check_resume(other, run_dir)


def test_config_diff() -> None:
    old, new = {"a": {"b": 1, "c": [1, 2]}, "gone": 1}, {"a": {"b": 2, "c": [1, 2]}, "d": None}
    assert config_diff(old, new) == ["a.b: 1 -> 2", "gone: 1 -> (absent)", "d: (absent) -> null"]


def test_resolve_needs_a_known_task() -> None:
    with pytest.raises(ConfigError, match="task=null is not one of: vid2vid"):
        resolve({}, SCHEMAS)
