"""Sweeps whose jobs are processes of submitit's: its local executor stands for Slurm, with the same code in the job."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests.helpers.exactness import assert_same, outcome
from tests.helpers.paths import ROOT

SMALL = (
    *("model=vit_mu", "resolution=[16,16]", "data.workers=0", "data.shapes_samples=64", "data.shapes_val_samples=20"),
    *("curriculum.stages.all.batch_size=4", "trainer.micro_batch=null", "trainer.precision=fp32", "trainer.device=cpu"),
    *("logger.tensorboard=false", "logger.curves=false", "trainer.log_every=1", "trainer.visuals_every=0"),
)
LOCAL = ("-m", "hydra/launcher=submitit_local", "hydra.launcher.timeout_min=10")


def launch(folder: Path, *words: str) -> subprocess.Popen[str]:
    """``train.py`` in a folder, started with no rank of its own."""
    environment = {key: value for key, value in os.environ.items() if key not in ("RANK", "WORLD_SIZE", "PYTHONPATH")}
    command = [sys.executable, str(ROOT / "train.py"), *words]
    return subprocess.Popen(
        command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def launched(folder: Path, *words: str) -> tuple[str, int]:
    """What it said, and its exit code."""
    with launch(folder, *words) as process:
        return process.communicate(timeout=300)[0], process.returncode


def said_by_jobs(sweep: Path) -> str:
    return "".join(path.read_text() for path in sorted((sweep / ".submitit").glob("*/*_log.*")))


@pytest.mark.slow
def test_a_job_finds_the_code_and_trains(tmp_path: Path) -> None:
    said, code = launched(tmp_path, *LOCAL, *SMALL, "name=s", "seed=3", "trainer.max_steps=1", "trainer.eval_every=0")
    run = tmp_path / "runs" / "s"
    assert code == 0, said + said_by_jobs(tmp_path / "runs" / "s")
    assert (run / "done.json").is_file() and yaml.safe_load((run / "config.yaml").read_text())["seed"] == 3


@pytest.mark.slow
def test_a_job_of_two_processes_that_is_preempted_goes_on_bit_by_bit(tmp_path: Path) -> None:
    """SIGUSR2 is how submitit tells a job that its time is over: it saves, is submitted again, and ends exactly so."""
    words = (*SMALL, "seed=1", "trainer.max_steps=150", "hydra.launcher.tasks_per_node=2")
    said, code = launched(tmp_path, *LOCAL, *words, "name=whole")
    assert code == 0, said + said_by_jobs(tmp_path / "runs" / "whole")

    run = tmp_path / "runs" / "stopped"
    with launch(tmp_path, *LOCAL, *words, "name=stopped") as process:
        try:
            until = time.monotonic() + 200
            while not (run / "metrics.jsonl").is_file() or len((run / "metrics.jsonl").read_bytes().splitlines()) < 5:
                assert time.monotonic() < until and process.poll() is None, said_by_jobs(run)
                time.sleep(0.02)
            for pid in tasks_of(process.pid):
                os.kill(pid, signal.SIGUSR2)
            said, _ = process.communicate(timeout=300)
        finally:
            process.kill()
    log = said_by_jobs(run)
    assert process.returncode == 0, said + log
    assert "stopped at step" in log and "Requeued job" in log and "resumed from runs/stopped/checkpoints" in log
    assert "2 processes" in log
    assert_same(outcome(tmp_path / "runs" / "whole"), outcome(run))


def tasks_of(launcher: int) -> list[int]:
    """The processes of a job: children of the controller, which is the launcher's."""
    found = [pid for controller in children(launcher) for pid in children(controller)]
    assert len(found) == 2, found
    return found


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
