"""Configurations composed as train.py composes them, and what is wrong with them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from train import SCHEMAS, TASKS
from trainer.cli import CONFIGS, compose, guarded, main
from trainer.config.help import group_options
from trainer.config.resolve import plain

MODELS = group_options(CONFIGS, "model")
REFERENCE = {
    "vid2vid": "vid2vid",
    "label_predictor": "label_predictor",
    "vit": "vit_s16",
    "mae": "mae",
    "segmentation": "setr",
    "stylizer": "stylizer",
}  # a model of each task


def data_root(tmp_path: Path) -> str:
    (tmp_path / "data").mkdir(exist_ok=True)
    return str(tmp_path / "data")


def problems_of(words: list[str]) -> list[str]:
    config = compose(words, SCHEMAS)
    return TASKS[config.task].problems(config)


def run_main(words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit code and stderr of ``train.py WORDS``, in this process."""
    monkeypatch.setattr(sys, "argv", ["train.py", *words])
    code = 0
    try:
        guarded(lambda: main(TASKS))()
    except SystemExit as stop:
        code = int(stop.code or 0)
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err + captured.out
    return code, captured.err


def write_run(tmp_path: Path, words: list[str]) -> Path:

    run_dir = tmp_path / "runs" / "first"
    (run_dir / "checkpoints" / "latest").mkdir(parents=True)
    OmegaConf.save(OmegaConf.create(plain(compose(words, SCHEMAS))), run_dir / "config.yaml")
    return run_dir
