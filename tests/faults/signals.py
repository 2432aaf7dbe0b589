"""Runs that are asked to stop: by a scheduler, by Ctrl-C, by a terminal that hangs up; then the same command again.

All of it through ``train.py`` with its command line, since its exit code is what a scheduler's script sees.
"""

from __future__ import annotations

import json
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

from tests.faults.catalogue import BOTH, Fault
from tests.faults.kills import gone_soon
from tests.faults.undisturbed import undisturbed
from tests.helpers.exactness import assert_same, outcome
from tests.helpers.killed_runs import Begun, Plan, run_to_end, session_members
from tests.helpers.small_runs import prepare
from trainer.preempt import STOPPED

LIMIT_S = 120.0


def begin(run_dir: Path, model: str, share: float, plan: Plan, workers: int = 0) -> Begun:
    """A run that has gone on for a share of an undisturbed one's time since it told its first line."""
    log, deadline = run_dir / "train.log", time.monotonic() + LIMIT_S
    size = log.stat().st_size if log.exists() else 0
    begun = Begun(run_dir, model, workers, plan, command=True)
    while not (log.exists() and log.stat().st_size > size):
        assert begun.alive() and time.monotonic() < deadline, begun.text()[-2000:]
        time.sleep(0.002)
    time.sleep(share * undisturbed(model, workers)[1])
    return begun


def stopped(run_dir: Path, model: str, number: int, share: float, workers: int = 0, group: bool = False) -> list[int]:
    """A run that is asked to stop and does: it is saved where it was, and says so.

    One that was done before it could be asked must be whole; then another one is asked earlier.

    Returns:
        The processes of the run that were alive when it was asked.
    """
    notes = run_dir.with_name("notes.json")
    earlier = _newest(run_dir)  # a signal that comes while it is read finds the run at step 0
    for attempt in range(20):
        begun = begin(run_dir, model, share * 0.85**attempt, Plan(notes=str(notes)), workers)
        members = session_members(begun.pid)
        begun.kill(number, group=group)
        ended = begun.wait()
        if ended.code == STOPPED:
            break
        assert (run_dir / "done.json").exists() and ended.code in (0, -number), (ended.code, ended.output[-2000:])
        assert_same(undisturbed(model)[0], outcome(run_dir))
        earlier = 0
        run_dir.rename(run_dir.with_name(f"{run_dir.name}-{len(list(run_dir.parent.iterdir()))}"))
    else:
        raise AssertionError("20 runs were done before they could be asked to stop")
    noted = json.loads(notes.read_text())
    (step, _), (left, _) = noted["signalled"], noted["left"]
    step = max(step, earlier)
    trainer = prepare(run_dir, model)
    allowed = max(map(trainer.task.segments_per_batch, trainer.curriculum.stages))  # one batch
    assert 0 <= left - step <= allowed, f"asked at step {step}, left at {left}: more than {allowed}"
    newest = trainer.checkpoints.latest()
    assert newest is not None and newest.name == f"step-{left:08d}"
    mark = json.loads((run_dir / "stopped.json").read_text())
    assert (mark["reason"], mark["step"]) == (signal.Signals(number).name, left)
    assert not (run_dir / "done.json").exists()
    return members


def _newest(run_dir: Path) -> int:
    """Step of the newest checkpoint; 0 where there is none."""
    steps = [int(path.name.removeprefix("step-")) for path in (run_dir / "checkpoints").glob("step-????????")]
    return max(steps, default=0)


def goes_on(run_dir: Path, model: str, workers: int = 0) -> None:
    """The same command ends the run, nothing is lost, and the mark is gone."""
    ended = run_to_end(run_dir, model, workers, command=True)
    assert ended.code == 0, ended.output[-2000:]
    assert not (run_dir / "stopped.json").exists()
    assert_same(undisturbed(model)[0], outcome(run_dir))


def _by(number: signal.Signals) -> Callable[[Path, str, int], None]:
    def trial(folder: Path, model: str, index: int) -> None:
        stopped(folder / "run", model, number, random.Random(f"{number} {index}").random())
        goes_on(folder / "run", model)

    return trial


def twice(folder: Path, model: str, number: int) -> None:
    """Stopped by one signal, gone on, stopped by another."""
    chance = random.Random(number)
    for name in chance.sample([signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP, signal.SIGINT], 2):
        stopped(folder / "run", model, name, chance.uniform(0.0, 0.4))
    goes_on(folder / "run", model)


def whole_group(folder: Path, model: str, number: int) -> None:
    """As schedulers and terminals do it: the data workers get the signal too, and end with the run, not before."""
    chance = random.Random(number)
    name = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)[number % 4]
    members = stopped(folder / "run", model, name, chance.random(), workers=2, group=True)
    gone_soon(members)
    goes_on(folder / "run", model, workers=2)


def impatient(folder: Path, model: str, number: int) -> None:
    """A second Ctrl-C does not wait: exit code 130 and no traceback, and what was saved before is there."""
    run_dir = folder / "run"
    begun = begin(run_dir, model, random.Random(number).uniform(0.0, 0.6), Plan())
    while begun.alive():
        begun.kill(signal.SIGINT)
        time.sleep(0.01)
    ended = begun.wait()
    assert ended.code in (130, STOPPED, 0), (ended.code, ended.output[-2000:])
    assert "Traceback" not in ended.output
    goes_on(run_dir, model)


SAVES = f"stops after the batch that it is at, saved; exit code {STOPPED}, stopped.json; the same command goes on"
FAULTS = [
    Fault("SIGTERM at a random moment", _by(signal.SIGTERM), BOTH, SAVES, times=20, slow=0),
    Fault("SIGUSR1 at a random moment", _by(signal.SIGUSR1), BOTH, SAVES, times=20, slow=0),
    Fault("SIGINT at a random moment", _by(signal.SIGINT), BOTH, SAVES, times=10, slow=0),
    Fault("SIGHUP at a random moment", _by(signal.SIGHUP), BOTH, SAVES, times=10, slow=0),
    Fault("asked to stop twice", twice, BOTH, SAVES, times=5, slow=1),
    Fault("asked to stop with all of the process group", whole_group, BOTH, SAVES, times=8, slow=0),
    Fault("Ctrl-C again and again", impatient, BOTH, "exit code 130; the same command goes on", times=5, slow=0),
]
