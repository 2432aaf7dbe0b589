"""Two cards and nccl; skipped where there is one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.helpers.gpu_runs import QUIET, WORDS
from tests.helpers.paths import ROOT

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two cards"),
]


def launch(folder: Path, *words: str) -> str:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*command, str(ROOT / "train.py"), *words], cwd=folder, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("model", ["vit", "vid2vid"])
@pytest.mark.parametrize("strategy", ["flat", "ddp", "fsdp2"])
def test_two_cards_train_save_and_go_on(tmp_path: Path, model: str, strategy: str) -> None:
    if model == "vid2vid" and strategy == "ddp":
        pytest.skip("several phases take flat")
    words = (*WORDS[model], *QUIET, "name=two", f"trainer.strategy={strategy}", "curriculum.stages.all.batch_size=4")
    launch(tmp_path, *words, "trainer.max_steps=4", "trainer.checkpoint_every=2")
    said = launch(tmp_path, *words, "trainer.max_steps=8")
    assert "resumed from" in said
    assert json.loads((tmp_path / "runs" / "two" / "done.json").read_text())["step"] == 8


def test_a_process_uses_its_own_card_only(tmp_path: Path) -> None:
    """Nothing is put on the first card by a process that has the second one."""
    program = (
        "import sys, torch; from pathlib import Path; sys.path.insert(0, sys.argv[1])\n"
        "from tests.helpers.gpu_runs import make\n"
        "make(Path(sys.argv[2]), 'vit', 'cuda', 'trainer.max_steps=2')\n"
        "assert torch.cuda.current_device() == 1 and torch.cuda.memory_allocated(1) > 0\n"
        "assert torch.cuda.memory_reserved(0) == 0"
    )
    environment = {**os.environ, "LOCAL_RANK": "1"}
    folders = [str(ROOT), str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-c", program, *folders],
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
