"""A segmenter that is trained, interrupted, and goes on; its file; mistakes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.helpers.made_frames import label_map, picture, save
from tests.helpers.made_run import street_config
from tests.helpers.scripts import run_script
from trainer.errors import CheckpointError, ConfigError
from trainer.records.progress import Progress
from vid2vid.config import SourceKind, Vid2VidConfig
from vid2vid.segmenter import training as module
from vid2vid.segmenter.file import load_segmenter, read_facts, save_segmenter
from vid2vid.segmenter.training import SegmenterTraining, balanced_cross_entropy, rate_at

CPU = torch.device("cpu")
STREET = ("resolution=[16,32]", "data.workers=0", "data.val_clips=1", "data.val_frames=3", "trainer.device=cpu")


def small() -> Vid2VidConfig:
    config = street_config((16, 32))
    config.model.label_ids = [7, 8, 11, 21, 23, 24, 26]
    config.data.val_clips = 1
    return config


def training(out: Path, steps: int = 4, config: Vid2VidConfig | None = None) -> SegmenterTraining:
    return SegmenterTraining(config or small(), steps=steps, batch_size=2, out=out, device=CPU)


class Stop(Progress):
    """Ctrl-C at a step."""

    def show(self, done: int, *args: Any, **options: Any) -> None:
        raise KeyboardInterrupt


def test_what_was_interrupted_goes_on_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHOW_EVERY", 2)
    whole = training(tmp_path / "whole.safetensors", 4)
    whole.run(Progress("step"))
    out = tmp_path / "parts.safetensors"
    with pytest.raises(KeyboardInterrupt):
        training(out, 4).run(Stop("step"))
    again = training(out, 4)
    assert again.done == 2
    again.run(Progress("step"))
    assert again.done == 4
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, again.network.state_dict()[name]), name
    with pytest.raises(ConfigError, match="unfinished"):
        training(out, 5)
    again.forget()
    assert training(out, 5).done == 0 and not list(tmp_path.glob("*.unfinished"))


def test_a_segmenter_learns_what_it_sees(tmp_path: Path) -> None:
    """Sky is bright above, road is grey below: a few steps of the real thing beat one class everywhere."""
    learner = training(tmp_path / "x.safetensors", 15)
    before = learner.measure()
    learner.run(Progress("step"))
    after = learner.measure()
    assert after.frames == 4 and after.accuracy > max(0.5, before.accuracy)
    save_segmenter(tmp_path / "x.safetensors", learner.network, after)
    loaded = load_segmenter(tmp_path / "x.safetensors", CPU)
    assert loaded.facts == after and f"mIoU {after.mean_iou:.3f}" in loaded.told
    frames = torch.randint(0, 256, (3, 3, 16, 32), dtype=torch.uint8)
    with torch.inference_mode():
        scores = learner.network(frames.float() / 127.5 - 1)
    assert torch.equal(loaded.predict(frames), scores.argmax(1))


def test_script_trains_and_evaluate_reads_with_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "s.safetensors"
    words = ("model.label_ids=[7,8,11,21,23,24,26]", *STREET, "steps=2", "batch_size=1", f"out={out}")
    assert run_script("train_segmenter", *words) == 0
    shown = capsys.readouterr().out
    facts = read_facts(out)
    assert f"mIoU {facts.mean_iou:.3f}" in shown and facts.frames == 3 and facts.data == "street"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.png", "s.safetensors"]
    assert run_script("train_segmenter", *words) == 2
    assert "is there already" in capsys.readouterr().err


def test_held_out_frames_that_cannot_be_read_cost_no_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder without pictures is told before the first step; labels without a class after the last, which is kept."""
    for t in range(3):
        for name in ("train", "blank", "good"):
            save(tmp_path / name / "images" / "x" / f"{t}.png", picture(t))
            ids = label_map(t) if name != "blank" else np.full_like(label_map(t), 255)
            save(tmp_path / name / "labels" / "x" / f"{t}.png", ids)
        save(tmp_path / "bare" / "labels" / "x" / f"{t}.png", label_map(t))
    out = tmp_path / "s.safetensors"
    words = (
        "data=folders", f"data.root={tmp_path / 'train'}", "model.num_labels=35", "resolution=[16,32]",
        "data.workers=0", "data.val_frames=3", "trainer.device=cpu", "steps=2", "batch_size=1", f"out={out}",
    )  # fmt: skip
    assert run_script("train_segmenter", *words, f"data.val_root={tmp_path / 'bare'}") == 2
    told = capsys.readouterr()
    assert "there is no folder 'images'" in told.err and "2 steps" not in told.err + told.out
    assert run_script("train_segmenter", *words, f"data.val_root={tmp_path / 'blank'}") == 2
    assert "what was learnt is kept" in capsys.readouterr().err
    assert run_script("train_segmenter", *words, f"data.val_root={tmp_path / 'good'}", "data.val_frames=2") == 0
    assert "goes on at step 2 of 2" in capsys.readouterr().out and out.is_file()
    assert not list(tmp_path.glob("*.unfinished"))


def test_mistakes_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_script("train_segmenter", *STREET, f"out={tmp_path / 'x.pth'}") == 2
    assert "x.safetensors" in capsys.readouterr().err
    config = small()
    config.model.source = SourceKind.image
    with pytest.raises(ConfigError, match="label maps"):
        training(tmp_path / "x", config=config)
    with pytest.raises(ConfigError, match="steps=0"):
        training(tmp_path / "x", steps=0)
    with pytest.raises(CheckpointError, match="train_segmenter"):
        load_segmenter(tmp_path / "absent.safetensors", CPU)
    other = tmp_path / "other.safetensors"
    from trainer.checkpoint.weights import save_weights

    save_weights(other, {"x": torch.zeros(2)})
    with pytest.raises(CheckpointError, match="no segmenter"):
        load_segmenter(other, CPU)
    (tmp_path / "y.unfinished").write_bytes(b"no archive")
    with pytest.raises(CheckpointError, match="remove it"):
        training(tmp_path / "y")


def test_rare_classes_count_by_the_root_of_their_pixels() -> None:
    """4 pixels of class 0 and 1 of class 1 have weights 2 and 1, whatever is not labelled."""
    scores = torch.tensor([[2.0, 0, 0], [0, 1, 5]]).T.repeat_interleave(torch.tensor([4, 1, 1]), 0)
    scores = scores.T[None, :, None]  # (1, 2, 1, 6)
    true = torch.tensor([[[0, 0, 0, 0, 1, -1]]])
    first, second = math.log(1 + math.exp(-2)), math.log(1 + math.exp(-1))
    assert balanced_cross_entropy(scores, true).item() == pytest.approx((2 * first + second) / 3)
    assert balanced_cross_entropy(scores, torch.full_like(true, -1)).item() == 0


def test_the_rate_rises_and_falls_to_zero() -> None:
    assert rate_at(0) < 0.05 and rate_at(0.05) == pytest.approx(1) and rate_at(1) == pytest.approx(0)
    assert rate_at(0.525) == pytest.approx(0.5)
