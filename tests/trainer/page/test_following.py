"""Runs seen from outside: their state, and records of files that grow, are cut, and are larger than one look."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.forking import fork
from tests.helpers.made_records import evaluation, record
from trainer.checkpoint.lock import RunLock
from trainer.page import following
from trainer.page.following import Following, Metrics, Thinned


def make(folder: Path, name: str, lines: str = "", **files: Any) -> Path:
    run = folder / name
    run.mkdir(parents=True)
    (run / "config.yaml").write_text(f"task: line\nname: {name}\n")
    if lines:
        (run / "metrics.jsonl").write_text(lines)
    for file, content in files.items():
        (run / f"{file}.json").write_text(json.dumps(content))
    return run


def steps(metrics: Metrics) -> list[int]:
    return [found["step"] for found in metrics.records if "losses" in found]


def test_thinned_keeps_evenly_spread_ones() -> None:
    kept = Thinned(4)
    for number in range(100):
        if kept.due():
            kept.add(number)
    assert kept.kept == [0, 16, 32, 48, 64, 80, 96]


def test_only_what_is_new_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, read = tmp_path / "metrics.jsonl", list[bytes]()
    original = following.read_record
    monkeypatch.setattr(following, "read_record", lambda line: read.append(line) or original(line))
    metrics = Metrics(path)
    metrics.look()
    assert metrics.records == [] and metrics.version == 0
    path.write_text(record(1) + record(2))
    metrics.look()
    assert steps(metrics)[:2] == [1, 2] and len(read) == 2
    metrics.look()
    assert len(read) == 2 and metrics.version == 1
    with path.open("a") as file:
        file.write(record(3) + '{"step": 4, "half')
    metrics.look()
    assert len(read) == 3 and metrics.last["step"] == 3 and metrics.version == 2


def test_a_run_that_went_back_to_its_checkpoint_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(record(step) for step in range(1, 9)))
    metrics = Metrics(path)
    metrics.look()
    path.write_text("".join(record(step, again=True) for step in range(1, 9)) + record(9))  # longer, and another
    metrics.look()
    assert all(found.get("again") for found in metrics.records if found["step"] < 9) and metrics.last["step"] == 9
    path.write_text(record(1))  # cut
    metrics.look()
    assert metrics.last["step"] == 1 and set(steps(metrics)) == {1}
    path.unlink()
    metrics.look()
    assert metrics.records == [] and metrics.last == {}


def test_a_large_file_is_read_in_pieces_and_its_end_is_known_at_once(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(
        "".join(record(step) + (evaluation(step, step) if step % 1000 == 0 else "") for step in range(1, 20001))
    )
    metrics = Metrics(path)
    metrics.look(at_once=2**16)
    assert metrics.last["step"] == 20000 and metrics.behind > 2**16 and max(steps(metrics)[:-1]) < 1500
    looks = 1
    while metrics.behind:
        metrics.look(at_once=2**18)
        looks += 1
    assert 3 < looks < 20
    assert following.KEPT <= len(steps(metrics)) <= 2 * following.KEPT + 1
    assert [found["step"] for found in metrics.records if "eval" in found] == [1000 * n for n in range(1, 21)]
    assert metrics.last["eval"] == {"score": 20000}


@pytest.fixture
def trains() -> Iterator[Callable[[Path], Any]]:
    """Another process that holds a run's folder, as one that trains there."""
    processes = []

    def start(run: Path) -> Any:
        def hold() -> None:
            RunLock(run).take()
            (run / "taken").touch()
            time.sleep(600)

        processes.append(fork(hold))
        while not (run / "taken").exists():
            assert processes[-1].is_alive()
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.join()


def test_states(tmp_path: Path, trains: Callable[[Path], Any]) -> None:
    lines = record(5, progress=0.25, eta_s=90.0)
    runs = {
        name: make(tmp_path, name, text, **files)
        for name, text, files in (
            ("training", lines, {}),
            ("done", lines, {"done": {"step": 20}}),
            ("stopped", lines, {"stopped": {"reason": "SIGTERM", "step": 7}}),
            ("killed", lines, {}),
            ("nothing", "", {}),
            ("damaged", lines, {"done": {}}),
        )
    }
    (runs["damaged"] / "done.json").write_text("{")
    process = trains(runs["training"])
    following_ = Following()
    seen = {run.name: run for run in following_.look(runs, at_most_every_s=0)}
    assert {name: run.state for name, run in seen.items()} == {
        "training": "training", "done": "done", "stopped": "stopped",
        "killed": "failed", "nothing": "failed", "damaged": "done",
    }  # fmt: skip
    assert seen["training"].eta_s == 90.0 and seen["training"].progress == 0.25
    assert seen["training"].owner["pid"] == process.pid and next(iter(seen)) == "training"
    assert (seen["done"].step, seen["done"].progress, seen["done"].eta_s) == (20, 1.0, None)
    assert (seen["stopped"].step, seen["stopped"].note) == (7, "stopped by SIGTERM, saved")
    assert "before its first record" in seen["nothing"].note and seen["nothing"].heard is None
    process.kill()
    process.join()
    again = {run.name: run.state for run in following_.look(runs, at_most_every_s=0)}
    assert again["training"] == "failed"


def test_many_visitors_ask_for_the_work_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs, asked = {"one": make(tmp_path, "one", record(1))}, list[Path]()
    monkeypatch.setattr(following, "owner_of", lambda run: asked.append(run))
    all_runs = Following()
    for _ in range(10):
        all_runs.look(runs, at_most_every_s=60)
    assert len(asked) == 1


def test_numbers_beyond_all_machines_stop_nobody(tmp_path: Path) -> None:
    run = make(tmp_path, "huge", record(1) + '{"step": 2, "samples_seen": 1' + "0" * 400 + ', "losses": {"a/b": 1}}\n')
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "samples_seen": 30, "eval": {"top1": 1' + "0" * 400 + ', "top5": 1}}\n{"step": -9}\n')
    found = Following().record(run)
    assert found.metrics == {"top5": 1.0} and {each["step"] for each in found.records} == {1, 3}
