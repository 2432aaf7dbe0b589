"""A run and other footage than its own: what of it is measured, what is kept with the weights, what is refused."""

from __future__ import annotations

import json
import logging
import runpy
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers.made_run import make_run, street_config
from tests.helpers.paths import ROOT
from trainer.cli import compose
from trainer.config.fields import OnBadFile
from trainer.errors import ConfigError, DataError
from trainer.loop import Trainer
from vid2vid.config import DataConfig, DataKind, FirstFrame, FlowMethod, LabelFormat, SourceKind, Vid2VidConfig
from vid2vid.evaluate.measured_clips import is_foreign
from vid2vid.evaluate.run import evaluate_run, format_table, write_eval
from vid2vid.generate.video import generate_video, open_clip
from vid2vid.task import Vid2VidTask
from vid2vid.trained import load_generator

TINY = [
    "model=vid2vid_tiny", "resolution=[16,32]", "model.blocks=1", "trainer.max_steps=1", "trainer.device=cpu",
    "trainer.precision=fp32", "logger.tensorboard=false", "logger.curves=false", "data=folders", "data.flow_cache=null",
    "curriculum.stages.all.frames=3",
]  # fmt: skip


def footage(root: Path, lengths: dict[str, int], deep: bool = False) -> Path:
    """Labels 7 and 26, or depth of 16 bits, beside pictures of 32x64."""
    for name, length in lengths.items():
        for i in range(length):
            ids = np.full((32, 64), 7, np.uint8)
            ids[:, 10 + i % 40 :] = 26
            for kind, array in (("labels", ids.astype(np.uint16) * 100 if deep else ids), ("images", ids * 4)):
                path = root / kind / name / f"{i:04d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(path)
    return root


def folder_run(tmp_path: Path, root: Path) -> Vid2VidConfig:
    config = street_config((16, 32))
    config.data.kind, config.data.flow, config.data.root = DataKind.folders, FlowMethod.none, str(root)
    make_run(tmp_path / "run", config)
    return config


def test_other_footage_is_measured_as_a_whole(tmp_path: Path):
    own, other = footage(tmp_path / "own", {"a": 6, "b": 6}), footage(tmp_path / "other", {"x": 25})
    config = folder_run(tmp_path, own)
    run = load_generator(config, tmp_path / "run")
    assert evaluate_run(run, own=config.data, frames=12).frames == 6
    run.config.data.root = str(other)
    result = evaluate_run(run, own=DataConfig(kind=DataKind.folders, root=str(own)), frames=12)
    assert (result.clips, result.frames) == (2, 25)
    assert f"2 clips, 25 frames (all frames of {other}, other footage than the run's own)" in format_table(result)
    assert "all frames" not in evaluate_run(run, own=run.config.data, frames=12).scope


def test_clips_with_bad_files_count_nowhere_and_are_told(tmp_path: Path):
    config = folder_run(tmp_path, footage(tmp_path / "own", {"a": 6, "b": 6}))
    config.data.val_root, config.data.on_bad_file = str(footage(tmp_path / "val", {"x": 6, "y": 6})), OnBadFile["skip"]
    for path in (tmp_path / "val/images/y").iterdir():
        Image.new("RGB", (64, 32), "white").save(path)
    run = load_generator(config, tmp_path / "run")
    whole = evaluate_run(run, frames=6)
    (tmp_path / "val/images/y/0002.png").write_bytes(b"no picture")
    result = evaluate_run(run, frames=6)
    assert (result.clips, result.frames, result.facts["skipped"]) == (1, 6, 1) and "skipped" not in whole.facts
    assert "1 clips, 6 frames (1 clip with a bad file counts nowhere)" in format_table(result)
    shutil.rmtree(tmp_path / "val/images/y")
    shutil.rmtree(tmp_path / "val/labels/y")
    alone = evaluate_run(run, frames=6)
    assert result.values["l1"] == pytest.approx(alone.values["l1"]) != pytest.approx(whole.values["l1"])


def test_what_counts_as_other_footage(tmp_path: Path):
    config = street_config()
    config.data.kind, config.data.root = DataKind.folders, "a"
    assert not is_foreign(config, DataConfig(kind=DataKind.folders, root="./a"))
    assert is_foreign(config, DataConfig(kind=DataKind.street))
    assert is_foreign(config, DataConfig(kind=DataKind.folders, root="b"))
    assert not is_foreign(config, DataConfig(kind=DataKind.folders, root="b", val_root="a"))
    config.data.val_root = "c"
    assert not is_foreign(config, DataConfig(kind=DataKind.folders, root="b")), "the user says what to measure on"
    assert is_foreign(config, DataConfig(kind=DataKind.folders, root="b", val_root="c")), "that is the run's own"
    (tmp_path / "leftImg8bit/train").mkdir(parents=True)
    (tmp_path / "leftImg8bit/val").mkdir()
    config.data = DataConfig(kind=DataKind.cityscapes, root=str(tmp_path))
    assert not is_foreign(config, DataConfig(kind=DataKind.street)), "it has a validation split of its own"


def test_the_training_split_is_measured_as_it_is(tmp_path: Path):
    config = folder_run(tmp_path, footage(tmp_path / "own", {"a": 7, "b": 6}))
    config.data.flip, config.data.scale = 1.0, [1.0, 1.5]
    run = load_generator(config, tmp_path / "run")
    first, again = (evaluate_run(run, split="train", frames=4) for _ in range(2))
    config.data.flip, config.data.scale = 0.0, [1.0, 1.0]
    plain = evaluate_run(load_generator(config, tmp_path / "run"), split="train", frames=4)
    assert (first.clips, first.frames) == (2, 7)
    for name in ("psnr", "ssim", "sharpness_all"):
        assert first.values[name] == again.values[name] == plain.values[name]


def test_the_evaluation_script_measures_all_of_other_footage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    folder_run(tmp_path, footage(tmp_path / "own", {"a": 6, "b": 6}))
    other = footage(tmp_path / "other", {"x": 8})
    words = [f"run={tmp_path}/run", f"data.root={other}", "frames=4"]
    monkeypatch.setattr(sys, "argv", ["evaluate.py", *words])
    runpy.run_path(str(ROOT / "scripts/evaluate.py"), run_name="__main__")
    assert f"2 clips, 8 frames (all frames of {other}" in capsys.readouterr().out


def test_another_start_as_an_override_is_another_question(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder_run(tmp_path, footage(tmp_path / "own", {"a": 6, "b": 6}))
    for words in ([], ["model.first_frame=zeros"], ["first_frame=zeros"]):
        monkeypatch.setattr(sys, "argv", ["evaluate.py", f"run={tmp_path}/run", *words])
        runpy.run_path(str(ROOT / "scripts/evaluate.py"), run_name="__main__")
    own, other = sorted((tmp_path / "run").glob("eval*.json"), key=lambda path: len(path.name))
    starts = [json.loads(path.read_text())["first_frame"] for path in (own, other)]
    assert own.name == "eval.json" and starts == ["model", "zeros"]


def test_a_run_that_learnt_edges_is_given_no_pictures(tmp_path: Path):
    config = street_config((16, 32))
    config.data.kind, config.data.flow = DataKind.video, FlowMethod.none
    config.model.source, config.model.source_channels = SourceKind.image, 1
    make_run(tmp_path / "run", config)
    load_generator(config, tmp_path / "run")
    config.data.kind = DataKind.folders
    with pytest.raises(ConfigError, match=r"data=folders: this run has learnt from edges.*data\.labels=rgb"):
        load_generator(config, tmp_path / "run")
    config.data.labels = LabelFormat.rgb
    load_generator(config, tmp_path / "run")


@pytest.mark.parametrize(("first", "short"), [("real", 2), ("image", 1)])
def test_sequences_too_short_to_start_do_not_stop_the_others(
    tmp_path: Path, first: str, short: int, caplog: pytest.LogCaptureFixture
):
    own = footage(tmp_path / "own", {"a": 6, "b": 6})
    other = footage(tmp_path / "other", {"x": 25, "y": short})
    config = folder_run(tmp_path, own)
    run = load_generator(config, tmp_path / "run")
    run.config.data.root = str(other)
    with caplog.at_level(logging.WARNING):
        result = evaluate_run(run, own=config.data, frames=12, first_frame=FirstFrame[first])
    assert (result.clips, result.frames) == (2, 25) and f"y ({short})" in caplog.text
    assert f"without 1 sequence too short for first_frame={first})" in format_table(result)
    run.config.data.root = str(footage(tmp_path / "short", {"y": short}))
    with pytest.raises(DataError, match=rf"no sequence has the {short + 1} frames.*use first_frame=model"):
        evaluate_run(run, own=config.data, first_frame=FirstFrame[first])
    assert evaluate_run(run, own=config.data, first_frame=FirstFrame.model).frames == short


def test_a_range_that_was_found_stays_with_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Depth from 700 to 2600: the checkpoint keeps it; the next run from it sees other depth with the same eyes."""
    root = footage(tmp_path / "own", {"a": 4, "b": 4}, deep=True)
    words = [*TINY, f"data.root={root}", "data.labels=rgb", "model.source=image", "model.source_channels=1"]
    config = compose([*words, "model.foreground=off", "data.label_format=auto"], {"vid2vid": Vid2VidConfig})
    Trainer(config, lambda: Vid2VidTask(config), tmp_path / "run").fit()
    assert "700 becomes black and 2600 white (data.range=[700,2600])" in capsys.readouterr().out, "on the console too"
    assert "700 becomes black" in (tmp_path / "run/train.log").read_text()
    run = load_generator(config, tmp_path / "run")
    assert (
        run.config.data.source_range == [700.0, 2600.0] and run.config.data.range == "auto" and run.instances is False
    )
    assert write_eval(tmp_path / "run", evaluate_run(run, own=config.data), run).name == "eval.json", "of its own data"
    run.config.data.source_range = [0, 2600]
    assert write_eval(tmp_path / "run", evaluate_run(run, own=config.data), run).name.startswith("eval-val-")
    config.trainer.max_steps = 2
    for path in root.rglob("labels/*/*.png"):
        Image.fromarray(np.full((32, 64), 5000, np.uint16)).save(path)
    trainer = Trainer(config, lambda: Vid2VidTask(config), tmp_path / "run")
    trainer.fit()
    assert trainer.step == 2 and load_generator(config, tmp_path / "run").config.data.source_range == [700.0, 2600.0]
    config.data.source_range = [0, 5000]
    assert load_generator(config, tmp_path / "run").config.data.source_range == [0, 5000]


def test_sources_without_instances_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.WARNING)
    config = street_config((16, 32))
    make_run(tmp_path / "run", config)
    other = footage(tmp_path / "other", {"x": 3})
    run = load_generator(config, tmp_path / "run")
    for instances, told in ((False, False), (True, True)):
        caplog.clear()
        run.instances = instances
        generate_video(run, open_clip(str(other), run.config), tmp_path / "out.mp4")
        assert ("the source has no instance maps" in caplog.text) is told
    caplog.clear()
    generate_video(run, open_clip("street", run.config, frames=2), tmp_path / "out.mp4")
    assert "no instance maps" not in caplog.text


def test_training_on_the_street_remembers_its_instances(tmp_path: Path):
    words = [word for word in TINY if word != "data=folders"]
    config = compose(words, {"vid2vid": Vid2VidConfig})
    Trainer(config, lambda: Vid2VidTask(config), tmp_path / "run").fit()
    assert load_generator(config, tmp_path / "run").instances is True
