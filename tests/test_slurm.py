"""The scripts of docs/clusters.md under Slurm itself, where it is installed: stopped, queued again, the same bits."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.helpers.exactness import assert_same, outcome
from tests.helpers.paths import ROOT
from tests.helpers.slurm_cluster import cluster, why_not

pytestmark = [pytest.mark.slow, pytest.mark.skipif(why_not() is not None, reason=f"no scheduler: {why_not()}")]
WAIT_S = 240
WORDS = (
    *("model=vit_mu", "resolution=[16,16]", "data.workers=1", "data.shapes_samples=64", "data.shapes_val_samples=20"),
    *("curriculum.stages.all.batch_size=4", "trainer.micro_batch=null", "trainer.precision=fp32", "trainer.device=cpu"),
    *("logger.tensorboard=false", "logger.curves=false", "trainer.log_every=1", "trainer.visuals_every=0"),
    "trainer.max_steps=120",
)


@pytest.fixture(scope="module")
def slurm() -> Iterator[dict[str, str]]:
    with cluster() as environment:
        yield environment | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}


def script(name: str) -> str:
    """A script of the page, for a cluster of one small node without cards."""
    page = (ROOT / "docs" / "clusters.md").read_text(encoding="utf-8")
    text = next(block for block in re.findall(r"```bash\n(.*?)```", page, re.DOTALL) if f"--job-name={name} " in block)
    text = re.sub(r"--gpus\S*|--cpus-per-task=\S+", "", text).replace("--nodes=4 --ntasks-per-node=8", "--ntasks=2")
    text = text.replace("--nproc-per-node=8", "--nproc-per-node=2").replace("--array=0-2", "--array=0-1")
    text = re.sub(r"model=vit_\w+", " ".join(WORDS), text).replace("train.py", str(ROOT / "train.py"))
    return re.sub(r"^#SBATCH *$\n", "", text.replace("srun python", f"srun {sys.executable}"), flags=re.MULTILINE)


def called(environment: dict[str, str], folder: Path, *command: str, given: str = "") -> str:
    done = subprocess.run(
        command, cwd=folder, env=environment, input=given, text=True, capture_output=True, timeout=WAIT_S, check=False
    )
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout.strip()


def until(true: Callable[[], object], what: str, folder: Path) -> None:
    end = time.monotonic() + WAIT_S
    while not true():
        logs = "\n".join(path.read_text()[-1500:] for path in folder.glob("*.log"))
        assert time.monotonic() < end, f"{what}\n{logs}"
        time.sleep(0.1)


def trains(run: Path) -> bool:
    records = run / "metrics.jsonl"
    return records.is_file() and records.read_bytes().count(b"\n") > 4


def test_an_array_of_runs_one_of_which_is_queued_again(slurm: dict[str, str], tmp_path: Path) -> None:
    job = called(slurm, tmp_path, "sbatch", "--parsable", given=script("seeds"))
    runs = [tmp_path / "runs" / f"seed{seed}" for seed in (0, 1)]
    until(lambda: trains(runs[1]), "a run that trains", tmp_path)
    called(slurm, tmp_path, "scancel", "--signal=USR1", f"{job}_1")  # what --signal does before the limit
    until(lambda: all((run / "done.json").is_file() for run in runs), "two runs that are done", tmp_path)
    log = (tmp_path / "seeds-1.log").read_text()
    assert "stopped at step" in log and "resumed from runs/seed1/checkpoints" in log
    assert "stopped at step" not in (tmp_path / "seeds-0.log").read_text()
    alone = subprocess.run(
        [sys.executable, str(ROOT / "train.py"), *WORDS, "seed=1", "name=alone"],
        cwd=tmp_path, env=slurm, capture_output=True, text=True, timeout=WAIT_S, check=False,
    )  # fmt: skip
    assert alone.returncode == 0, alone.stderr
    assert_same(outcome(tmp_path / "runs" / "alone"), outcome(runs[1]))


def test_a_run_of_two_tasks_goes_on_bit_by_bit(slurm: dict[str, str], tmp_path: Path) -> None:
    text = script("large")
    called(slurm, tmp_path, "sbatch", "--wait", given=text.replace("name=large", "name=whole"))
    job = called(slurm, tmp_path, "sbatch", "--parsable", given=text)
    run = tmp_path / "runs" / "large"
    until(lambda: trains(run), "a run that trains", tmp_path)
    called(slurm, tmp_path, "scancel", "--signal=USR1", job)
    until(lambda: (run / "done.json").is_file(), "a run that is done", tmp_path)
    log = (tmp_path / "large.log").read_text()
    assert "2 processes" in log and "stopped at step" in log and "resumed from runs/large/checkpoints" in log
    assert_same(outcome(tmp_path / "runs" / "whole"), outcome(run))
