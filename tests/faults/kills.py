"""Runs that are killed: SIGKILL at random moments and at chosen ones, then the same command until the run is done.

What must hold is always the same: the run ends with the weights, averages, moments, schedule and records of a run that
nothing disturbed, bit by bit (``outcome`` in tests/helpers/exactness.py).
"""

from __future__ import annotations

import json
import os
import random
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from tests.faults.catalogue import BOTH, Fault
from tests.faults.undisturbed import shared, undisturbed
from tests.helpers.exactness import assert_same, outcome
from tests.helpers.killed_runs import Begun, Plan, run_to_end, session_members
from tests.helpers.small_runs import prepare

ORPHANS_S = 30.0  # a data worker looks every 5 s whether the process that it works for is there


@cache
def counted(model: str) -> dict[str, Any]:
    """How many file operations and events of each kind an undisturbed run has; see ``Plan``."""

    def make() -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as folder:
            notes = Path(folder) / "notes.json"
            assert run_to_end(Path(folder) / "run", model, plan=Plan(notes=str(notes))).code == 0
            return json.loads(notes.read_text())

    return shared(f"{model}-counted", make)


@cache
def shape(model: str) -> tuple[int, int]:
    """Samples in an epoch, and samples seen when the second stage begins."""

    def make() -> tuple[int, int]:
        with tempfile.TemporaryDirectory() as folder:
            trainer = prepare(Path(folder), model)
            first = trainer.curriculum.stages[0]
            # Of data that are drawn no number is fixed: what the sampler goes through is counted.
            epoch = trainer.epoch or len(trainer.task.dataset("train", first))
            return epoch, next(s for s in range(10**6) if trainer.curriculum.at(s).index == 1)

    return shared(f"{model}-shape", make)


def survives(run_dir: Path, model: str, workers: int = 0) -> None:
    """The same command again ends the run, and nothing is lost."""
    ended = run_to_end(run_dir, model, workers)
    assert ended.code == 0, ended.output[-2000:]
    assert_same(undisturbed(model)[0], outcome(run_dir))


def killed_by_time(run_dir: Path, model: str, share: float, workers: int = 0, group: bool = False) -> list[int]:
    """SIGKILLs a run after a share of the time that an undisturbed one takes, counted from its process's begin.

    A run that is done earlier than the one that was timed must be whole; then another one is killed earlier.

    Returns:
        The processes of the run that were alive just before.
    """
    whole = undisturbed(model, workers)[1]
    for attempt in range(20):
        begun = Begun(run_dir, model, workers)
        time.sleep(max(0.0, begun.began + share * 0.9**attempt * whole - time.monotonic()))
        members = session_members(begun.pid)
        hit = begun.kill(group=group and bool(members))
        begun.wait_gone()
        if hit and (workers or begun.wait().code == -signal.SIGKILL):  # workers hold the pipe that tells the code
            return members
        assert begun.wait().code == 0, begun.text()[-2000:]
        assert_same(undisturbed(model)[0], outcome(run_dir))
        run_dir.rename(run_dir.with_name(f"{run_dir.name}-{attempt}"))
    raise AssertionError("20 runs were done before they were to be killed")


def at_random(folder: Path, model: str, number: int) -> None:
    """Spread evenly over the whole life of the process, and at random within each hundredth."""
    share = (number * 37 % 100 + random.Random(number).random()) / 100
    killed_by_time(folder / "run", model, share)
    survives(folder / "run", model)


def in_the_first_second(folder: Path, model: str, number: int) -> None:
    killed_by_time(folder / "run", model, random.Random(number).random() * min(1.0, 1.0 / undisturbed(model)[1]) / 2)
    survives(folder / "run", model)


def with_workers(folder: Path, model: str, number: int, group: bool = False) -> None:
    """No worker outlives the run for long, and the shared memory that batches travel in is given back."""
    run_dir, workers = folder / "run", 2
    before = _shared_memory()
    members = killed_by_time(run_dir, model, random.Random(number).uniform(0.3, 1.0), workers, group)
    survives(run_dir, model, workers)
    gone_soon(members)
    left = [name for name in _shared_memory() - before if any(f"_{pid}_" in name for pid in members)]
    assert not left, f"left in /dev/shm: {left}"


def gone_soon(members: Sequence[int]) -> None:
    """Waits until processes have ended; they may take seconds, and no more."""
    deadline = time.monotonic() + ORPHANS_S
    while alive := [pid for pid in members if _alive(pid)]:
        assert time.monotonic() < deadline, f"outlive the run by {ORPHANS_S:.0f} s: {alive}"
        time.sleep(0.1)


def whole_group(folder: Path, model: str, number: int) -> None:
    with_workers(folder, model, number, group=True)


def _shared_memory() -> set[str]:
    return set(os.listdir("/dev/shm"))


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def killed_by(run_dir: Path, model: str, plan: Plan) -> None:
    """A run that kills itself at a chosen moment."""
    ended = run_to_end(run_dir, model, plan=plan)
    assert ended.code == -signal.SIGKILL, (plan, ended.code, ended.output[-2000:])


def before_a_file_operation(folder: Path, model: str, number: int) -> None:
    """Spread over all that a run does to files: opening, flushing, renaming, removing; most of it is checkpoints."""
    operations = counted(model)["operations"]
    operation = (number * 37 % 60 * operations + random.Random(number).randrange(operations)) // 60
    killed_by(folder / "run", model, Plan(operation=operation))
    survives(folder / "run", model)


def while_it_finishes(folder: Path, model: str, number: int) -> None:
    """The last file operations: the last evaluation and checkpoint, ``done.json``."""
    killed_by(folder / "run", model, Plan(operation=counted(model)["operations"] - 1 - 3 * number))
    survives(folder / "run", model)


def while_it_resumes(folder: Path, model: str, number: int) -> None:
    """Killed, and killed again when the second process has just begun to read what the first one left."""
    moment = random.Random(number)
    operations = counted(model)["operations"]
    killed_by(folder / "run", model, Plan(operation=moment.randrange(operations // 3, operations - 10)))
    killed_by(folder / "run", model, Plan(operation=4 * number))
    survives(folder / "run", model)


def three_times(folder: Path, model: str, number: int) -> None:
    moment, losses = random.Random(number), counted(model)["events"]["loss"]
    for _ in range(3):
        killed_by(folder / "run", model, Plan(event="loss", count=moment.randrange(losses // 6, losses // 4)))
    survives(folder / "run", model)


def _at(chosen: Callable[[str], Sequence[Plan]]) -> Callable[[Path, str, int], None]:
    """A trial for every one of some chosen moments."""

    def trial(folder: Path, model: str, number: int) -> None:
        killed_by(folder / "run", model, chosen(model)[number])
        survives(folder / "run", model)

    return trial


def _stage_changes(model: str) -> list[Plan]:
    start = shape(model)[1]
    moments = [("boundary", -1), ("passed", 0), ("stage", 0), ("entered", 0), ("loss", 0), ("loss", 1)]
    return [
        Plan(event=event, samples=start if after >= 0 else start - 1, count=max(after, 0)) for event, after in moments
    ]


def _evaluations(model: str) -> list[Plan]:
    batches = counted(model)["events"]["batch"]
    return [Plan(event="batch", count=i * batches // 6) for i in range(6)]


def _borders(model: str) -> list[Plan]:
    """Where the first epoch ends, between two batches and within the first batch of the second epoch."""
    epoch = shape(model)[0]
    return [Plan(event=event, samples=epoch) for event in ("boundary", "passed", "loss")]


def _second_epoch(model: str) -> list[Plan]:
    epoch = shape(model)[0]
    return [Plan(event="loss", samples=epoch * 3 // 2, count=count) for count in range(3)]


def _warm_up(model: str) -> list[Plan]:
    """The first steps, in which the averages still forget quickly: before the first checkpoint and behind it."""
    return [Plan(event="loss", count=count) for count in range(8)]


def clock_jumps_back(folder: Path, model: str, number: int) -> None:
    """The clock falls back by hours in the middle of the run, and files carry times of the future."""
    run_dir, hours = folder / "run", (1, 24, 24 * 365)[number]
    operations = counted(model)["operations"]
    killed_by(run_dir, model, Plan(operation=operations * (2 + number) // 5, clock=-3600.0 * hours))
    times = random.Random(number)
    for path in sorted(run_dir.rglob("*")):
        os.utime(path, (now := time.time() + times.uniform(-1, 1) * 3600 * hours, now))
    killed_by(run_dir, model, Plan(operation=operations // 5, clock=-3600.0 * hours))
    survives(run_dir, model)


GOES_ON = "the same command goes on from the newest checkpoint, and says from which"
FAULTS = [
    Fault("SIGKILL at a random moment", at_random, BOTH, GOES_ON, times=100, slow=5, short=1),
    Fault("SIGKILL in the first second", in_the_first_second, BOTH, GOES_ON, times=10, slow=0),
    Fault("SIGKILL before a file operation", before_a_file_operation, BOTH, GOES_ON, times=60, slow=2),
    Fault("SIGKILL while a stage changes", _at(_stage_changes), BOTH, GOES_ON, times=6, slow=0),
    Fault("SIGKILL during an evaluation", _at(_evaluations), BOTH, GOES_ON, times=6, slow=0),
    Fault("SIGKILL while the run finishes", while_it_finishes, BOTH, "without done.json it is not done", 10, slow=0),
    Fault("SIGKILL while the run resumes", while_it_resumes, BOTH, GOES_ON, times=15, slow=1),
    Fault("SIGKILL three times in a row", three_times, BOTH, GOES_ON, times=5, slow=0),
    Fault("SIGKILL at an epoch's border", _at(_borders), BOTH, GOES_ON, times=3, slow=0),
    Fault("SIGKILL in the second epoch", _at(_second_epoch), BOTH, GOES_ON, times=3, slow=0),
    Fault("SIGKILL early in EMA's warm-up", _at(_warm_up), BOTH, GOES_ON, times=8, slow=0),
    Fault("SIGKILL of a run with data workers", with_workers, BOTH, "workers end by themselves", times=10, slow=1),
    Fault("SIGKILL of the whole process group", whole_group, BOTH, GOES_ON, times=5, slow=0),
    Fault("the clock jumps back", clock_jumps_back, BOTH, "nothing: no decision rests on the clock", times=3, slow=1),
]
