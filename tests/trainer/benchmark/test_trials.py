"""Runs as measurements: what is read from them, and that a killed one is compared bit by bit."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.helpers.kept_rows import Kept
from tests.helpers.paths import ROOT
from trainer.benchmark import card, trials
from trainer.benchmark.trials import Trial, compare_runs, measure_resuming, measure_training, summary
from trainer.checkpoint.directory import Checkpoints
from trainer.records.logger import RunLogger

TINY = (
    "trainer.device=cpu", "trainer.precision=fp32", "trainer.log_every=1", "trainer.eval_every=0",
    "logger.tensorboard=false", "logger.curves=false", "data.workers=0", "trainer.micro_batch=null",
)  # fmt: skip


def record(step: int, loss: float, pace: float, **more: Any) -> dict[str, Any]:
    rates = {"samples_per_s": pace, "frames_per_s": 2 * pace, "data_wait": 0.1, "memory": 1.0 + step}
    return {"step": step, "losses": {"main/class": loss, "main/grad_norm": None}, **rates, **more}


def test_a_summary_is_of_the_later_half(tmp_path: Path) -> None:
    records = [record(i, 4.0 / i, pace) for i, pace in enumerate([1.0, 2.0, 10.0, 12.0, 11.0], start=1)]
    found = summary(records, "main/class")
    assert found == {
        "steps": 5, "samples/s": 11.0, "frames/s": 22.0, "waiting for data": pytest.approx(0.1), "peak GiB": 6.0,
        "finite": True, "main/class": "4 to 0.8",
    }  # fmt: skip
    assert summary([record(1, math.nan, 1.0)])["finite"] is False
    logger = RunLogger(tmp_path, tensorboard=False)
    logger.begin("")
    logger.scalars(record(1, math.nan, 1.0))
    logger.close()
    (stored,) = map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines())
    assert stored["losses"]["main/class"] is None and summary([stored])["finite"] is False
    assert summary([]) == {"steps": 0}


def write_run(folder: Path, step: int, weights: dict[str, torch.Tensor], moment: float = 1.0) -> None:
    folder.mkdir()
    (folder / "train.log").write_text("resumed from step-2: step 2, 8 samples\n")
    state = {"optimizers": {"main": {"w": {"step": torch.ones(()), "exp_avg": torch.full((2,), moment)}}}, "time": 3.0}
    Checkpoints(folder).save(step, state, weights, weights, {})


def test_runs_are_compared_bit_by_bit(tmp_path: Path) -> None:
    weights = {"w": torch.tensor([1.0, 2.0])}
    other = {"w": torch.tensor([1.0, 2.25])}
    write_run(tmp_path / "a", 4, weights)
    write_run(tmp_path / "b", 4, weights)
    write_run(tmp_path / "c", 4, other, moment=1.5)
    write_run(tmp_path / "d", 5, weights)
    same = compare_runs(tmp_path / "a", tmp_path / "b")
    assert (
        same["same"]
        and same["step"] == 4
        and same["resumed"] == 1
        and same["weights"] is None
        and same["optimisers"] is None
    )
    found = compare_runs(tmp_path / "a", tmp_path / "c")
    assert not found["same"] and found["weights"] == 0.25 and found["averages"] == 0.25 and found["optimisers"] == 0.5
    assert not compare_runs(tmp_path / "a", tmp_path / "d")["same"]  # another step
    assert not compare_runs(tmp_path / "a", tmp_path / "none")["same"]
    (tmp_path / "b" / "train.log").write_text("step 1\n")
    assert not compare_runs(tmp_path / "a", tmp_path / "b")["same"]  # it began anew
    assert trials._largest({"a": torch.ones(2)}, {"a": torch.ones(3)}) == math.inf
    assert trials._largest({"a": 1}, {"b": 1}) == math.inf


@pytest.mark.slow
def test_a_run_is_measured_and_a_failing_one_tried_again_more_plainly(tmp_path: Path) -> None:
    rows = Kept()
    words = (
        "model=vit_mu",
        "trainer.max_steps=4",
        "data.shapes_samples=64",
        "curriculum.stages.all.batch_size=8",
        *TINY,
    )
    failing = Trial("first", ("model.patch=5", *words), "main/class", ("model.patch=4",))
    measure_training(rows, tmp_path, [failing], 200)
    assert [row["ended"] for row in rows.rows] == ["exit code 2", "well"]
    assert rows.rows[0]["steps"] == 0 and "model.patch=5" in rows.notes[0] and "patch" in rows.notes[1]
    found = rows.rows[1]
    assert found["steps"] == 4 and found["finite"] and found["samples/s"] > 0 and " to " in found["main/class"]
    assert "python train.py" in rows.notes[2] and "model.patch=4" in rows.notes[2]


def test_a_hanging_run_is_killed(tmp_path: Path) -> None:
    rows = Kept()
    measure_training(rows, tmp_path, [Trial("slow", ("model=vit_mu", "trainer.max_steps=1000000", *TINY))], 0.5)
    assert rows.rows[0]["ended"] == "killed: no end"


@pytest.mark.slow
def test_killed_and_resumed(tmp_path: Path) -> None:
    rows = Kept()
    words = (
        "model=vit_mu", "trainer=deterministic", "trainer.max_steps=600", "trainer.checkpoint_every=20",
        "data.shapes_samples=64", "curriculum.stages.all.batch_size=4", "augment.mixup=0.5", *TINY,
    )  # fmt: skip
    measure_resuming(rows, tmp_path, [Trial("small", words)], seconds=280)
    (found,) = rows.rows
    assert found["same"] and found["resumed"] == 1 and 20 < found["killed at step"] < 600 and found["step"] == 600


def test_tests_for_a_card_are_found_by_their_mark(tmp_path: Path) -> None:
    mark = "pytest.mark." + "gpu"
    (tmp_path / "test_a.py").write_text(f"import pytest\n@{mark}\ndef test_it(): pass\n")
    (tmp_path / "test_b.py").write_text("def test_it(): pass\n")
    assert [path.name for path in card.marked_files(tmp_path)] == ["test_a.py"]
    ours = card.marked_files(ROOT / "tests")
    assert {"test_transformer.py", "test_loop.py"} <= {path.name for path in ours}


def test_results_of_tests_become_rows() -> None:
    class Report:
        when, outcome, duration, nodeid, failed = "call", "failed", 1.25, "test_a.py::test_it", True
        longrepr = "\n".join(f"line {i}" for i in range(100))

    rows = Kept()
    reporter = card._Reporter(rows)
    reporter.pytest_runtest_logreport(Report)
    Report.outcome, Report.when = "passed", "setup"
    reporter.pytest_runtest_logreport(Report)
    Report.when = "call"
    reporter.pytest_runtest_logreport(Report)
    assert [row["outcome"] for row in rows.rows] == ["failed"] and [row["outcome"] for row in rows.details] == [
        "passed"
    ]
    assert rows.rows[0]["error"].startswith("line 75")
    assert reporter.counts == {"failed": 1, "passed": 1}


@pytest.mark.slow
def test_every_way_to_fail_is_reported(tmp_path: Path) -> None:
    mark = "@pytest.mark." + "gpu\n"
    (tmp_path / "test_a.py").write_text(
        "import pytest, time\n"
        f"{mark}def test_good(): pass\n{mark}def test_bad(): assert 1 == 2\n{mark}def test_long(): time.sleep(100)\n"
        f"@pytest.fixture\ndef broken(): raise RuntimeError('no fixture')\n{mark}def test_unfit(broken): pass\n"
        "def test_of_others(): assert False\n"
    )
    (tmp_path / "test_b.py").write_text(f"import pytest, not_there\n{mark}def test_it(): pass\n")
    program = (
        "import sys; from pathlib import Path; from trainer.benchmark import card\n"
        "from trainer.benchmark.sections import Rows\n"
        "folder = Path(sys.argv[1]); card.run_tests(Rows(folder / 'rows'), card.marked_files(folder), timeout=3)"
    )
    root = ROOT
    subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], cwd=root, check=True, timeout=200, capture_output=True
    )
    found = [json.loads(line) for line in (tmp_path / "rows").read_text().splitlines()]
    for row in found:
        if "test" in row:
            row["test"] = row["test"].rpartition("/")[2]  # a path from where the tests of this checkout begin
    bad = {row["test"].rpartition("::")[2]: (row["outcome"], row["error"]) for row in found if "error" in row}
    assert {name: outcome for name, (outcome, _) in bad.items()} == {
        "test_bad": "failed", "test_long": "failed", "test_unfit": "failed", "test_b.py": "not collected"
    }  # fmt: skip
    assert "assert 1 == 2" in bad["test_bad"][1] and "Timeout" in bad["test_long"][1]
    assert "no fixture" in bad["test_unfit"][1] and "not_there" in bad["test_b.py"][1]
    assert [row["test"] for row in found if row.get("outcome") == "passed"] == ["test_a.py::test_good"]
    assert found[-1]["note"] == "Tests marked gpu: 3 failed, 1 not collected, 1 passed; exit code 1."


def test_a_card_tells_what_it_is() -> None:
    rows = Kept()
    card.about(rows, torch.device("cpu"), quick=True)
    assert "torch" in rows.notes[0] and [row["table"] for row in rows.rows] == ["machine", "ceilings"]
    assert all(value > 0 for name, value in rows.rows[1].items() if name != "table")
