"""Sweeps: recognised however they are asked for, named by what differs, stopped when told to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from trainer.cli import CONFIGS
from trainer.config.sweeps import FOLDER_BYTES, asks_for_sweep, check_sweeper, sweep_folder
from trainer.errors import ConfigError

TRAIN = CONFIGS.parent / "train.py"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["-m", "seed=0,1"], True),
        (["--multirun"], True),
        (["--mul", "seed=0,1"], True),
        (["seed=0,1", "hydra.mode=MULTIRUN"], True),
        (["hydra.mode=RUN", "model=timm"], False),
        (["--cfg", "job"], False),
    ],
)
def test_ways_to_ask(words: list[str], expected: bool) -> None:
    assert asks_for_sweep(words) is expected


def folder(argv: list[str], job: list[str], subdir: str = "3") -> str:
    hydra = SimpleNamespace(sweep=SimpleNamespace(dir="runs/s", subdir=subdir), overrides=SimpleNamespace(task=job))
    return sweep_folder(hydra, argv).as_posix()


def test_a_folder_is_named_by_what_differs() -> None:
    argv = ["-m", "model=vid2vid", "seed=0,1", "optim.g.lr=1e-3,1e-4", "name=s"]
    assert folder(argv, ["model=vid2vid", "seed=1", "optim.g.lr=1e-4", "name=s"]) == "runs/s/optim.g.lr=0.0001,seed=1"
    # what an experiment sweeps stands in no word
    assert folder(["experiment=x", "hydra.mode=MULTIRUN"], ["experiment=x", "seed=4"]) == "runs/s/seed=4"
    assert folder(["-m", "seed=3"], ["seed=3"]) == "runs/s"
    assert folder([*argv, "hydra.sweep.subdir=job3"], ["seed=1"], "job3") == "runs/s/job3"


def test_paths_and_long_lists_make_one_folder_of_a_possible_name() -> None:
    weights = ["-m", "model.weights=runs/a/seed=0,runs/b"]
    assert folder(weights, ["model.weights='runs/a/seed=0'"]) == "runs/s/model.weights=runs+a+seed=0"
    roots = ["/a/b", "/a-b", "/a b", "/a  b", "-a-b", "+a+b"]
    assert len({folder(["-m", "data.root=x,y"], [f"data.root='{root}'"]) for root in roots}) == len(roots)
    argv = ["-m", *(f"data.key{i}=1,2" for i in range(60))]
    names = [folder(argv, [f"data.key{i}={1 + (i == n)}" for i in range(60)]) for n in range(60)]
    assert len(set(names)) == 60
    assert all(len(name.encode()) <= FOLDER_BYTES + len("runs/s/") for name in names)


@pytest.mark.slow
def test_every_job_trains_in_its_own_folder(run_train, tmp_path: Path) -> None:
    """hydra.mode alone made one folder of both: the second job found the first one's run done."""
    done = run_train("model=vid2vid_tiny", "hydra.mode=MULTIRUN", "seed=0,1", "name=s", "trainer.max_steps=2")
    assert done.returncode == 0, done.stderr
    for seed in (0, 1):
        run = tmp_path / "runs" / "s" / f"seed={seed}"
        assert yaml.safe_load((run / "config.yaml").read_text())["seed"] == seed
        assert (run / "done.json").is_file()
    assert sorted(p.name for p in (tmp_path / "runs" / "s").iterdir()) == [
        *("compare.csv", "multirun.yaml", "seed=0", "seed=1"),  # no picture: logger.curves is off there
    ]


@pytest.mark.slow
def test_a_signal_ends_the_sweep_and_the_same_command_goes_on(run_train, tmp_path: Path) -> None:
    words = ["model=vid2vid_tiny", "-m", "seed=0,1", "name=s", "trainer.max_steps=100000", "trainer.log_every=2"]
    environment = {key: value for key, value in os.environ.items() if key not in ("RANK", "WORLD_SIZE")}
    command = [sys.executable, str(TRAIN), *words, "trainer.max_samples=null"]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        records = tmp_path / "runs" / "s" / "seed=0" / "metrics.jsonl"
        until = time.monotonic() + 200
        while not (records.exists() and records.stat().st_size):
            assert time.monotonic() < until and process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=200)
    finally:
        process.kill()
    assert process.returncode == 75
    assert "stopped at step" in out and out.endswith("the sweep is stopped; the same command goes on with it\n")
    assert not (tmp_path / "runs" / "s" / "seed=1").exists()
    assert (tmp_path / "runs" / "s" / "seed=0" / "checkpoints" / "latest").is_file()


@pytest.mark.slow
def test_a_failing_job_is_told_at_once_and_the_others_go_on(run_train, tmp_path: Path) -> None:
    done = run_train("-m", "model=vid2vid_tiny", "name=s", "trainer.max_steps=1", "data.kind=video,street")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "runs/s/data.kind=video failed: the configuration has" in done.stderr
    assert (tmp_path / "runs" / "s" / "data.kind=street" / "done.json").is_file()


@pytest.mark.slow
def test_paths_of_a_sweep_are_understood_by_every_command(run_train, tmp_path: Path) -> None:
    """They hold ``=``, which Hydra's grammar takes in quotes only; no user should have to know."""
    run_train("-m", "model=vid2vid_tiny", "seed=5", "name=s", "model.ndf=4,6", "trainer.max_steps=2")
    run = tmp_path / "runs" / "s" / "model.ndf=4"
    weights = f"model.weights={run.relative_to(tmp_path)}"
    again = run_train("model=vid2vid_tiny", "name=from_it", weights, "trainer.max_steps=2", "trainer.eval_every=0")
    assert again.returncode == 0, again.stderr
    assert f"a new run starts from {weights}" in again.stdout
    checkpoint = next((run / "checkpoints").glob("step-*"))
    resumed = run_train("model=vid2vid_tiny", "name=s2", f"trainer.resume={checkpoint}", "trainer.max_steps=4")
    assert resumed.returncode == 0 and f"resumed from {checkpoint}: step 2" in resumed.stdout
    script = [sys.executable, str(CONFIGS.parent / "scripts" / "evaluate.py"), f"run={run}", "clips=1", "frames=2"]
    done = subprocess.run(script, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr


def test_what_hydra_cannot_take_is_told(run_train) -> None:
    for word in ("hydra.sweeper.params={seed: '0,1'}", "+hydra.sweeper.params.seed='0,1'"):
        result = run_train("-m", "model=vid2vid_tiny", word)
        assert result.returncode == 2 and "Traceback" not in result.stderr
        assert "give what to sweep as it is: python train.py -m seed=0,1" in result.stderr


def test_a_launcher_that_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.config.sweeps.find_spec", lambda name: None)
    for word in ("hydra/launcher=slurm", "hydra/launcher=submitit_local"):
        with pytest.raises(ConfigError, match=rf"{word} needs submitit, .*: pip install -e '\.\[slurm\]'"):
            check_sweeper(["-m", word, "seed=0,1"])
    check_sweeper(["-m", "hydra/launcher=basic", "seed=0,1"])


@pytest.mark.slow
def test_a_sweep_ends_with_its_runs_beside_each_other(run_train, tmp_path: Path) -> None:
    words = ("-m", "model=vit_mu", "resolution=[16,16]", "name=s", "trainer.max_steps=2", "data.shapes_val_samples=20")
    done = run_train(*words, "seed=0,1", "data.workers=0", "curriculum.stages.all.batch_size=4")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert (
        lines[-1] == "written: runs/s/compare.csv, runs/s/compare.png" and (tmp_path / "runs/s/compare.png").is_file()
    )
    heading, *rows = (tmp_path / "runs" / "s" / "compare.csv").read_text().splitlines()
    assert heading.startswith("run,seed,ended,top1,") and [row.split(",")[:3] for row in rows] == [
        ["seed=0", "0", "done"], ["seed=1", "1", "done"],
    ]  # fmt: skip
    given = run_train("model=vit_mu", "name=t", "model.weights=runs/s")
    assert given.returncode == 2 and "runs/s is no run but a folder of 2 runs" in given.stderr
    given = run_train("model=vit_mu", "name=t", "trainer.resume=runs/s")
    assert given.returncode == 2 and "runs/s is no run but a folder of 2 runs" in given.stderr


OTHER_LAUNCHER = """
import os

from hydra._internal.core_plugins.basic_launcher import BasicLauncher, BasicLauncherConf
from hydra.core.config_store import ConfigStore


class OtherProcesses(BasicLauncher):
    def launch(self, job_overrides, initial_job_idx):
        for number, overrides in enumerate(job_overrides):
            child = os.fork()
            if not child:
                super().launch([overrides], initial_job_idx + number)
                os._exit(0)
            os.waitpid(child, 0)
        return []


ConfigStore.instance().store(
    group="hydra/launcher", name="elsewhere", provider="hydra",
    node=BasicLauncherConf(_target_="hydra_plugins.elsewhere.OtherProcesses"),
)
"""


@pytest.mark.slow
def test_a_sweep_whose_jobs_run_elsewhere_ends_with_its_runs_beside_each_other(
    run_train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As joblib's and submitit's launchers do: what the jobs noted was never seen by who had started them."""
    (tmp_path / "hydra_plugins").mkdir()
    (tmp_path / "hydra_plugins" / "elsewhere.py").write_text(OTHER_LAUNCHER, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    words = ("-m", "hydra/launcher=elsewhere", "model=vit_mu", "resolution=[16,16]", "name=s", "data.workers=0")
    few = ("trainer.max_steps=1", "data.shapes_val_samples=20", "curriculum.stages.all.batch_size=4")
    done = run_train(*words, *few, "seed=0,1", "logger.curves=false")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "written: runs/s/compare.csv"
    assert [row[:9] for row in (tmp_path / "runs/s/compare.csv").read_text().splitlines()[1:]] == [
        "seed=0,0,",
        "seed=1,1,",
    ]
    before = (tmp_path / "runs/s/compare.csv").stat().st_mtime_ns
    shown = run_train(*words, *few, "seed=0,1", "trainer.dry_run=true")
    assert shown.returncode == 0 and (tmp_path / "runs/s/compare.csv").stat().st_mtime_ns == before
