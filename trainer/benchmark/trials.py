"""Real runs of ``train.py``, measured: their speed with the data pipeline, and whether a killed run goes on exactly.

Every run is a command in a process of its own, in a folder of its own; what is measured is read from what it wrote.
"""

from __future__ import annotations

import math
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainer.benchmark.sections import Rows
from trainer.checkpoint.contents import EMA, WEIGHTS
from trainer.checkpoint.directory import Checkpoints
from trainer.checkpoint.trained import load_weights
from trainer.records.curves import read_records

ROOT = Path(__file__).resolve().parents[2]
POLL_S = 0.005


@dataclass(frozen=True)
class Trial:
    """One run.

    Attributes:
        name: of the run, and of its folder.
        words: what follows ``train.py``.
        watch: the loss that should fall.
        plainer: further words for a second try, if the run does not end well.
    """

    name: str
    words: Sequence[str]
    watch: str = ""
    plainer: Sequence[str] = field(default_factory=tuple)


class Command:
    """``train.py`` in a process group of its own, so that it and its data workers can be killed together.

    Args:
        folder: where it runs; its output is in ``NAME.log`` there.
    """

    def __init__(self, folder: Path, name: str, words: Sequence[str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.run_dir = folder / "runs" / name
        self.log = folder / f"{name}.log"
        self.line = " ".join(["python train.py", f"name={name}", *words])
        with self.log.open("a") as file:
            self.process = subprocess.Popen(
                [sys.executable, str(ROOT / "train.py"), f"name={name}", *words],
                cwd=folder, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, process_group=0,
            )  # fmt: skip

    def kill(self) -> None:
        """SIGKILL to all of the group."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def wait(self, seconds: float) -> int | None:
        """The exit code; None where the time did not suffice and it was killed."""
        try:
            return self.process.wait(max(seconds, 0.1))
        except subprocess.TimeoutExpired:
            return None
        finally:
            self.kill()

    def tail(self, lines: int = 15) -> str:
        """The end of its output."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def records(self) -> list[dict[str, Any]]:
        """The records of training steps in ``metrics.jsonl``, as far as they are whole."""
        path = self.run_dir / "metrics.jsonl"
        return [record for record in read_records(path) if "losses" in record] if path.exists() else []


# Speed


def measure_training(rows: Rows, folder: Path, trials: Sequence[Trial], seconds: float) -> None:
    """Runs each trial in turn; a row for each: pace, waiting for data, memory, and whether its loss fell.

    Args:
        folder: for the runs.
        seconds: that each may take before it is killed.
    """
    for trial in trials:
        for name, words in ((trial.name, trial.words), (f"{trial.name}_plainer", [*trial.words, *trial.plainer])):
            begin = time.monotonic()
            command = Command(folder, name, words)
            rows.note(f"`{command.line}`")
            code = command.wait(seconds)
            ended = "well" if code == 0 else f"exit code {code}" if code is not None else "killed: no end"
            row = summary(command.records(), trial.watch)
            took = round(time.monotonic() - begin, 1)
            rows.row("training", run=name, ended=ended, seconds=took, **row)
            if code == 0:
                break
            rows.note(f"{name} did not end well: {command.tail()}")
            if not trial.plainer:
                break


def summary(records: Sequence[Mapping[str, Any]], watch: str = "") -> dict[str, Any]:
    """What the records of a run say; the pace is that of the later half, when kernels are chosen and workers run.

    Args:
        records: of training steps.
        watch: the loss whose means over the first and the last quarter are compared.
    """
    if not records:
        return {"steps": 0}
    late = records[len(records) // 2 :]
    losses = [record["losses"] for record in records]
    # JSON has null for NaN. Norms have it for overflows of fp16, too.
    values = [v for row in losses for name, v in row.items() if v is not None or not name.endswith("/grad_norm")]
    own = [row[watch] for row in losses if row.get(watch) is not None]
    quarter = max(1, len(own) // 4)
    return {
        "steps": records[-1]["step"],
        "samples/s": statistics.median(record["samples_per_s"] for record in late),
        "frames/s": statistics.median(record["frames_per_s"] for record in late),
        "waiting for data": statistics.mean(record["data_wait"] for record in late),
        "peak GiB": max(record["memory"] for record in records),
        "finite": all(value is not None and math.isfinite(value) for value in values),
        watch or "loss": f"{_mean(own[:quarter])} to {_mean(own[-quarter:])}" if own else None,
    }


def _mean(values: Sequence[float]) -> str:
    return f"{statistics.fmean(values):.4g}"


# Exactness


def measure_resuming(rows: Rows, folder: Path, trials: Sequence[Trial], seconds: float) -> None:
    """Each trial twice: undisturbed, and killed by SIGKILL some steps after its first checkpoint, then started again.

    All run side by side. A row for each: whether weights, averages and what optimisers keep are the same, bit by bit,
    or the largest differences.

    Args:
        folder: for the runs.
        trials: which save a checkpoint long before they end, and log often.
        seconds: for all of it.
    """
    until = time.monotonic() + seconds
    for trial in trials:
        rows.note(f"`python train.py {' '.join(trial.words)}`")
    whole = {trial.name: Command(folder, f"{trial.name}_whole", trial.words) for trial in trials}
    again = {trial.name: Command(folder, f"{trial.name}_killed", trial.words) for trial in trials}
    try:
        killed = _kill_each(again, until)
        for trial in trials:
            if killed[trial.name] is not None:
                again[trial.name] = Command(folder, f"{trial.name}_killed", trial.words)
        for trial in trials:
            codes = [command.wait(until - time.monotonic()) for command in (whole[trial.name], again[trial.name])]
            row: dict[str, Any] = {"run": trial.name, "killed at step": killed[trial.name]}
            if killed[trial.name] is None or codes != [0, 0]:
                said = "; ".join(c.tail() for c in (whole[trial.name], again[trial.name]))
                rows.note(f"{trial.name}: exit codes {codes}, killed at step {killed[trial.name]}: {said}")
                rows.row("resuming", **row, same=False)
                continue
            rows.row("resuming", **row, **compare_runs(whole[trial.name].run_dir, again[trial.name].run_dir))
    finally:
        for command in [*whole.values(), *again.values()]:
            command.kill()


def _kill_each(commands: Mapping[str, Command], until: float) -> dict[str, int | None]:
    """The step that each was at when it was killed; None for those that ended before."""
    found: dict[str, int | None] = {}
    while len(found) < len(commands) and time.monotonic() < until:
        for name, command in commands.items():
            if name in found:
                continue
            saved, records = Checkpoints(command.run_dir).latest(), command.records()
            if command.process.poll() is not None:
                found[name] = None
            elif saved is not None and records and records[-1]["step"] > int(saved.name.removeprefix("step-")):
                command.kill()
                found[name] = int(command.records()[-1]["step"])
        time.sleep(POLL_S)
    return {name: found.get(name) for name in commands}


def compare_runs(one: Path, two: Path) -> dict[str, Any]:
    """Whether two runs ended alike: step, weights, averages, and what their optimisers keep.

    Returns:
        ``step``, ``resumed`` (how often ``two`` did, as its log says), ``same`` (it did, and bit by bit) and the
        largest differences: ``weights``, ``averages``, ``optimisers`` (None where they are the same).
    """
    ends = [Checkpoints(run).latest() for run in (one, two)]
    if None in ends:
        return {"same": False, "step": None}
    first, second = (end for end in ends if end is not None)
    differences = {
        "weights": _largest(*(load_weights(end / WEIGHTS)[0] for end in (first, second))),
        "averages": _largest(*(load_weights(end / EMA)[0] for end in (first, second)))
        if (first / EMA).exists()
        else None,
        "optimisers": _largest(
            *(_leaves(Checkpoints(run).load(end)[0]["optimizers"]) for run, end in ((one, first), (two, second)))
        ),
    }
    log = (two / "train.log").read_text() if (two / "train.log").exists() else ""
    resumed = [line for line in log.splitlines() if "resumed from" in line]
    return {
        "step": int(second.name.removeprefix("step-")),
        "resumed": len(resumed),
        "same": bool(resumed) and first.name == second.name and all(value is None for value in differences.values()),
        **differences,
    }


def _largest(one: Mapping[str, Any], two: Mapping[str, Any]) -> float | None:
    """The largest absolute difference; None where all is the same bit by bit; infinite where names or shapes differ."""
    if one.keys() != two.keys():
        return math.inf
    worst: float | None = None
    for name, value in one.items():
        other = two[name]
        if not isinstance(value, Tensor):
            worst = worst if value == other else math.inf
        elif value.shape != other.shape:
            worst = math.inf
        elif not torch.equal(value, other):
            worst = max(worst or 0.0, float((value.double() - other.double()).abs().max()))
    return worst


def _leaves(value: Any, path: str = "") -> dict[str, Any]:
    if isinstance(value, Mapping):
        return {key: leaf for name, item in value.items() for key, leaf in _leaves(item, f"{path}/{name}").items()}
    return {path: value}
