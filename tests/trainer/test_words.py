"""``resolution=224``: one number is a square, on the command line, in sweeps, and for a run's scripts."""

import sys
from pathlib import Path

import pytest

from train import SCHEMAS, TASKS
from trainer.cli import compose, guarded, load_run, main
from trainer.errors import ConfigError
from trainer.words import written_out


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("resolution=224", "resolution=[224,224]"),
        ("++resolution=64", "++resolution=[64,64]"),
        ("curriculum.stages.half_short.resolution=32", "curriculum.stages.half_short.resolution=[32,32]"),
        ("resolution=[64,128]", "resolution=[64,128]"),
        ("resolution=64,128", "resolution=64,128"),  # no sweep: a mistake, which is told
        ("resolution=wide", "resolution=wide"),
        ("resolution=2.5", "resolution=2.5"),
        ("resolution=", "resolution="),
        ("data.resolution=4", "data.resolution=4"),
        ("model.resolutions=4", "model.resolutions=4"),
        ("curriculum.stages.a.b.resolution=4", "curriculum.stages.a.b.resolution=4"),
        ("data.label_map=11:21,26:24", "data.label_map=[11:21,26:24]"),
        ("data.label_map=11:21,*:255", "data.label_map=[11:21,*:255]"),
        ("data.label_map=255:1", "data.label_map=255:1"),
        ("--help", "--help"),
    ],
)
def test_single_words(word: str, expected: str) -> None:
    assert written_out([word]) == [expected]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("resolution=64", "resolution=[64,64]"),
        ("resolution=64,128", "resolution=[64,64],[128,128]"),
        ("resolution=64,[32,64], 96", "resolution=[64,64],[32,64],[96,96]"),
        ("curriculum.stages.s.resolution=16,32", "curriculum.stages.s.resolution=[16,16],[32,32]"),
        ("seed=1,2", "seed=1,2"),
        ("data.label_map=1:2,3:4", "data.label_map=1:2,3:4"),
    ],
)
def test_sweeps(word: str, expected: str) -> None:
    assert written_out([word, "-m"], sweep=True) == [expected, "-m"]


def test_it_composes() -> None:
    words = ["model=vid2vid", "resolution=64", "curriculum.stages.half_short.resolution=32"]
    config = compose(words, SCHEMAS)
    assert config.resolution == [64, 64] and config.curriculum.stages["half_short"].resolution == [32, 32]
    with pytest.raises(ConfigError, match=r"resolution=64,128|list of whole numbers"):
        compose(["model=vid2vid", "resolution=64,128"], SCHEMAS)


def test_scripts_take_it_for_a_run(tmp_path: Path) -> None:
    import yaml

    from trainer.configuration import plain

    (tmp_path / "config.yaml").write_text(yaml.safe_dump(plain(compose(["model=vid2vid_tiny"], SCHEMAS))))
    assert load_run(tmp_path, SCHEMAS, ["resolution=96"]).resolution == [96, 96]


def test_a_sweep_over_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["-m", "model=vid2vid_tiny", "name=sizes", "resolution=32,64", "trainer.dry_run=true"]
    monkeypatch.setattr(sys, "argv", ["train.py", *words])
    guarded(lambda: main(TASKS))()
    shown = capfd.readouterr().out
    assert [size for size in ("32x32", "64x64") if size in shown] == ["32x32", "64x64"]
    assert "runs/sizes/resolution=[32,32]" in shown and "runs/sizes/resolution=[64,64]" in shown
