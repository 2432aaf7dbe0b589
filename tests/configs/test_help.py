"""--help and Hydra's own flags."""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path

import pytest

from train import TASKS
from trainer.cli import CONFIGS, main
from trainer.config.help import group_options, groups


def test_help_is_quick_and_complete(run_train) -> None:
    began = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = run_train("--help")
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0 and done.stderr == ""
    seconds = ended.ru_utime - began.ru_utime + ended.ru_stime - began.ru_stime
    assert seconds < 1.0  # of one core: what it takes on a machine with nothing else to do
    assert len(re.findall(r"^ {2}(?:python|torchrun) .*train\.py", done.stdout, re.MULTILINE)) == 7
    for group in groups(CONFIGS):
        assert re.search(rf"^  {group} ", done.stdout, re.MULTILINE), group
        assert all(option in done.stdout for option in group_options(CONFIGS, group))


def test_help_of_a_model_explains_its_keys(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", "model=vid2vid", "model.ngf=77", "--help"])
    main(TASKS, "about this")
    text = capsys.readouterr().out
    assert text.startswith("about this\n")
    assert re.search(r"model\.ngf=77\b", text)
    assert re.search(r"trainer\.keep=2\s+newest checkpoints kept", text)
    assert re.search(r"optim\.g\.every=1\s+update on steps divisible by this", text)


def test_cfg_and_info(run_train, tmp_path: Path) -> None:
    shown = run_train("model=vid2vid_tiny", "--cfg", "job")
    assert shown.returncode == 0 and "ngf: 4" in shown.stdout and "downsamplings: 2" in shown.stdout
    info = run_train("model=vid2vid_tiny", "--info", "defaults")
    assert info.returncode == 0 and "model/vid2vid" in info.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_sweep_names_runs_by_what_is_swept(run_train, tmp_path: Path) -> None:
    done = run_train("-m", "model=vid2vid_tiny", "seed=0,1", "name=s", "trainer.dry_run=true")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("generator") >= 2
    assert "run directory runs/s/seed=0" in done.stdout and "run directory runs/s/seed=1" in done.stdout
