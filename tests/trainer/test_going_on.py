"""``train.py run=PATH``: a run goes on by its own configuration, as it would by the command that began it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from train import TASKS
from trainer.cli import main
from trainer.errors import ConfigError, UserError

WORDS = [
    *(
        "model=vit_mu",
        "trainer.device=cpu",
        "trainer.precision=fp32",
        "trainer.micro_batch=null",
        "trainer.resume=auto",
    ),
    *("trainer.eval_every=0", "trainer.visuals_every=0", "trainer.log_every=1", "trainer.checkpoint_every=100"),
    *("data.shapes_samples=8", "data.shapes_val_samples=4", "data.workers=0", "resolution=[16,16]", "data.repeats=1"),
    *("curriculum.stages.all.batch_size=4", "logger.tensorboard=false", "logger.curves=false"),
]


def train(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", *words])
    main(TASKS)


def test_it_goes_on_as_by_the_same_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("same", "other"):
        train(monkeypatch, *WORDS, "trainer.max_samples=8", f"name={name}", f"hydra.run.dir={tmp_path / name}")
    train(monkeypatch, *WORDS, "trainer.max_samples=16", "name=same", f"hydra.run.dir={tmp_path / 'same'}")
    train(monkeypatch, f"run={tmp_path / 'other'}", "trainer.max_samples=16")
    weights = [
        load_file(tmp_path / name / "checkpoints/step-00000004/weights.safetensors") for name in ("same", "other")
    ]
    assert weights[0].keys() == weights[1].keys() and all(torch.equal(weights[0][k], weights[1][k]) for k in weights[0])
    steps = [json.loads(line)["step"] for line in (tmp_path / "other" / "metrics.jsonl").read_text().splitlines()]
    assert steps[-1] == 4 and "resumed from" in (tmp_path / "other" / "train.log").read_text()


def test_what_cannot_stand_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="-m: beside run=PATH there are key=value changes only"):
        train(monkeypatch, "-m", f"run={tmp_path}")
    with pytest.raises(ConfigError, match="run=b: beside"):
        train(monkeypatch, "run=a", "run=b")
    with pytest.raises(UserError, match=r"run=.*nothing: no config\.yaml there"):
        train(monkeypatch, f"run={tmp_path / 'nothing'}")
