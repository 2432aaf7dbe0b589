"""A sweep over cards: who gets which, what a failure does, how it stops. train.py is a program of few lines here."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT
from train import SCHEMAS
from trainer.errors import ConfigError
from trainer.parallel import sweep, trainings
from trainer.parallel.sweep import Run, Sweep, combinations, last_record
from trainer.parallel.sweep_board import Board, counts, table

PROGRAM = """
import json, os, pathlib, signal, sys, time
folder = pathlib.Path(next(w for w in sys.argv if w.startswith("hydra.run.dir=")).partition("=")[2][1:-1])
def stop(*_):
    (folder / "stopped.json").write_text("{}")
    sys.exit(75)
signal.signal(signal.SIGTERM, stop)
kept = ("CUDA_VISIBLE_DEVICES", "LOCAL_WORLD_SIZE", "OMP_NUM_THREADS")
begun = {"words": sys.argv[1:-1], "at": time.time(), **{name: os.environ.get(name) for name in kept}}
with (folder / "begun").open("a") as file:
    file.write(json.dumps(begun) + "\\n")
if "seed=1" in sys.argv: sys.exit("no memory")
if (folder.parent / "wait").exists():
    while True: time.sleep(0.01)
time.sleep(0.1)
(folder / "done.json").write_text(str(time.time()))
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "train.py").write_text(PROGRAM)
    monkeypatch.setattr(trainings, "ROOT", tmp_path)
    monkeypatch.setattr(sweep, "POLL_S", 0.01)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return tmp_path


def runs_of(root: Path, *words: str) -> list[Run]:
    return combinations(list(words), SCHEMAS, lambda first: root / "s")


def begun(run: Run) -> list[dict]:
    return [json.loads(line) for line in (run.folder / "begun").read_text().splitlines()]


def test_combinations_are_hydras_and_so_are_their_folders(root: Path) -> None:
    runs = runs_of(root, "model=vit_mu", "seed=2,3", "data.root=a=b,c d", "resolution=16,24", "name=s")
    assert [run.folder.name for run in runs][:3] == [
        "data.root=a=b,resolution=[16,16],seed=2",
        "data.root=a=b,resolution=[24,24],seed=2",
        "data.root=c+d-b9d444a4,resolution=[16,16],seed=2",
    ]
    assert len(runs) == 8 and runs[3].words == [
        *("model=vit_mu", "seed=2", "data.root=c\\ d", "resolution=[24,24]", "name=s"),
    ]
    assert [run.folder for run in runs_of(root, "model=vit_mu", "seed=2", "name=s")] == [root / "s"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["hydra.sweep.dir=x"], "takes none of Hydra's own; python train.py -m does"),
        (["-m", "seed=0,1"], "-m: scripts/sweep.py takes none"),
        (["seed=1,1"], "two combinations would write into .*seed=1"),
        (["seed=[1"], r"seed=\[1: "),
    ],
)
def test_words_that_it_cannot_take(root: Path, words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        runs_of(root, "model=vit_mu", *words)


def test_every_run_has_a_card_of_its_own_and_a_failure_stops_no_other(root: Path) -> None:
    out = io.StringIO()
    runs = runs_of(root, "model=vit_mu", "seed=0,1,2,3,4")
    assert Sweep(runs, ["4", "MIG-7"], 2, Board(out)).run() is False
    assert [run.state for run in runs] == ["done", "failed", "done", "done", "done"]
    assert runs[1].code == 1 and "seed=1 failed with code 1" in out.getvalue() and "no memory" in out.getvalue()
    assert out.getvalue().rstrip().endswith("4 done, 1 failed")
    spans = [(b["at"], float((run.folder / "done.json").read_text()), b["CUDA_VISIBLE_DEVICES"])
             for run in runs if run.state == "done" for b in begun(run)]  # fmt: skip
    assert {card for _, _, card in spans} == {"4", "MIG-7"}
    for card in ("4", "MIG-7"):
        on_it = sorted(span for span in spans if span[2] == card)
        assert len(on_it) >= 2 and all(a[1] <= b[0] for a, b in pairwise(on_it))


def test_without_cards_runs_share_the_cores(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("trainer.data.workers.usable_cores", lambda: 7)
    runs = runs_of(root, "model=vit_mu", "seed=0,2")
    Sweep(runs, [], 3).run()
    assert [
        (b["CUDA_VISIBLE_DEVICES"], b["LOCAL_WORLD_SIZE"], b["OMP_NUM_THREADS"]) for r in runs for b in begun(r)
    ] == [
        (None, "2", "3"),
        (None, "2", "3"),
    ]


def test_a_signal_stops_what_runs_and_the_next_sweep_goes_on(root: Path) -> None:
    (root / "s").mkdir()
    (root / "s" / "wait").touch()
    runs = runs_of(root, "model=vit_mu", "seed=0,2,3")

    def stop() -> None:
        until = time.monotonic() + 60
        while not all((run.folder / "begun").is_file() for run in runs[:2]) and time.monotonic() < until:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=stop)
    thread.start()
    assert Sweep(runs, [], 2).run() is True
    thread.join()
    assert [run.state for run in runs] == ["stopped", "stopped", "waiting"]
    assert all((run.folder / "stopped.json").is_file() for run in runs[:2]) and not runs[2].folder.exists()

    (root / "s" / "wait").unlink()
    again = runs_of(root, "model=vit_mu", "seed=0,2,3")
    assert Sweep(again, [], 2).run() is False
    assert [run.state for run in again] == ["done"] * 3 and [len(begun(run)) for run in again] == [2, 2, 1]


def test_the_table_tells_how_far_runs_are(root: Path) -> None:
    runs = [
        Run(root / "s" / f"seed={n}", [], state) for n, state in enumerate(["done", "running", "failed", "waiting"])
    ]
    runs[1].folder.mkdir(parents=True)
    runs[1].card = "3"
    records = [{"step": 20, "samples_seen": 80, "samples_per_s": 512.34, "eta_s": 3725.4}, {"step": 20, "eval": {}}]
    (runs[1].folder / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records) + '{"step": 2')
    assert last_record(runs[1].folder)["step"] == 20
    assert counts(runs) == "1 running, 1 waiting, 1 done, 1 failed"
    heading, columns, running, failed = table(runs, 20, 120)
    assert heading == counts(runs) and columns.split() == ["run", "state", "card", "step", "samples/s", "time", "left"]
    assert running.split() == ["seed=1", "running", "3", "20", "512.3", "1:02:05"]
    assert failed.split() == ["seed=2", "failed", "-"]
    assert table(runs, 4, 30)[-1] == "and 1 more"


def test_a_terminal_is_drawn_over(root: Path) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    out = Terminal()
    runs = [Run(root / "s" / "seed=0", []), Run(root / "s" / "seed=1", [])]
    board = Board(out)
    board(runs)
    assert out.getvalue() == ""
    runs[0].state = "running"
    board(runs)
    drawn = out.getvalue()
    assert drawn.count("\n") == 3 and "\x1b" not in drawn
    runs[0].state = "done"
    board(runs)
    assert out.getvalue()[len(drawn) :].startswith("\x1b[3F\x1b[J")


@pytest.mark.slow
def test_two_runs_side_by_side_stop_and_go_on(tmp_path: Path) -> None:
    """The command itself, with real trainings: SIGTERM ends it with checkpoints, and it ends with a comparison."""
    words = (
        *("model=vit_mu", "resolution=[16,16]", "data.workers=0", "data.shapes_samples=64", "trainer.device=cpu"),
        *("data.shapes_val_samples=20", "curriculum.stages.all.batch_size=4", "trainer.log_every=1", "name=s"),
        *("trainer.micro_batch=null", "logger.tensorboard=false", "logger.curves=false", "seed=0,1", "jobs=2"),
    )
    command = [sys.executable, str(ROOT / "scripts" / "sweep.py"), *words]
    runs = [tmp_path / "runs" / "s" / f"seed={seed}" for seed in (0, 1)]
    with (tmp_path / "out").open("w") as out:
        process = subprocess.Popen([*command, "trainer.max_steps=100000"], cwd=tmp_path, stdout=out)
        try:
            until = time.monotonic() + 200
            while not all((run / "metrics.jsonl").is_file() for run in runs):
                assert time.monotonic() < until and process.poll() is None
                time.sleep(0.05)
            process.terminate()
            assert process.wait(200) == 75
        finally:
            process.kill()
    assert (tmp_path / "out").read_text().endswith("the sweep is stopped; the same command goes on with it\n")
    steps = [int((run / "checkpoints" / "latest").read_text().strip().rpartition("-")[2]) for run in runs]
    words = [*command, f"trainer.max_steps={max(steps) + 2}"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-2:] == ["written: runs/s/compare.csv", "2 done"]
    for run, step in zip(runs, steps, strict=True):
        assert (
            f"resumed from {run.relative_to(tmp_path)}/checkpoints/step-{step:08d}" in (run / "train.log").read_text()
        )
