"""Small runs in processes of their own, to be killed at moments that are chosen by time, by event or by file."""

from __future__ import annotations

import json
import multiprocessing
import os
import runpy
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tests.helpers.crash_states import Trace
from tests.helpers.exactness import killable_processes
from tests.helpers.file_operations import watch
from tests.helpers.small_runs import prepare, words

LIMIT_S = 300.0  # a small run that takes longer hangs


@dataclass(frozen=True)
class Plan:
    """What disturbs a run from within its process.

    Attributes:
        operation: SIGKILL before this file operation below the run directory, from 0.
        event: SIGKILL when this happens: ``loss`` (of a phase), ``boundary`` and ``passed`` (before and after what is
            between two batches), ``stage`` and ``entered`` (amid and after a change), ``batch`` (of an evaluation),
            ``finish``.
        samples, count: at its first time with so many samples seen, after so many more.
        group: the whole process group is killed.
        clock: from its first evaluation on the process's clock is so many seconds off.
        trace: file for all that a power failure may leave of it (tests/helpers/crash_states.py).
        notes: file for what happened, as JSON: ``operations``, ``events``, ``steps`` at which signals came and at
            which the run left.
    """

    operation: int | None = None
    event: str = ""
    samples: int = 0
    count: int = 0
    group: bool = False
    clock: float = 0.0
    trace: str = ""
    notes: str = ""


@dataclass(frozen=True)
class Ended:
    """How a process ended: ``code`` is negative for a signal, as subprocess has it."""

    code: int
    pid: int
    output: str


@cache
def processes() -> Any:
    """The context whose processes begin with everything imported."""
    return killable_processes(
        "tests.helpers.killed_runs", "trainer.loop", "trainer.checkpoint.trained", "vid2vid.task", "vit.task"
    )


class Begun:
    """A run in a process of its own, in a session of its own.

    Args:
        run_dir: the run's; what the process prints goes beside it, to ``NAME.out``.
        model, workers: see tests/helpers/small_runs.py.
        plan: what disturbs it.
        command: ``train.py`` itself with its command line, whose exit code counts; else ``Trainer.fit``.
    """

    def __init__(
        self, run_dir: Path, model: str, workers: int = 0, plan: Plan | None = None, *, command: bool = False
    ) -> None:
        self.output = run_dir.with_name(run_dir.name + ".out")
        arguments = (run_dir, model, workers, plan or Plan(), self.output)
        self.began = time.monotonic()
        self._process = processes().Process(target=_command if command else _run, args=arguments)
        self._process.start()
        self.pid: int = self._process.pid

    def alive(self) -> bool:
        return Path(f"/proc/{self.pid}").exists()

    def kill(self, number: int = signal.SIGKILL, group: bool = False) -> bool:
        """Sends a signal; False where the process has ended."""
        try:
            (os.killpg if group else os.kill)(self.pid, number)
        except ProcessLookupError:
            return False
        return True

    def wait(self) -> Ended:
        """Its end. Not by ``join`` at first: workers that outlive a killed process hold its pipe."""
        self.wait_gone()
        self._process.join(LIMIT_S)
        return Ended(self._process.exitcode, self.pid, self.text())

    def wait_gone(self) -> None:
        """Until there is no such process; its workers may still be there."""
        deadline = time.monotonic() + LIMIT_S
        while self.alive():
            if time.monotonic() > deadline:
                self.kill(group=True)
                raise AssertionError(f"hangs: {self.text()[-2000:]}")
            time.sleep(0.002)

    def text(self) -> str:
        """What it has printed."""
        return self.output.read_text(encoding="utf-8", errors="replace") if self.output.exists() else ""


def run_to_end(
    run_dir: Path, model: str, workers: int = 0, plan: Plan | None = None, *, command: bool = False
) -> Ended:
    """A run until it ends, by itself or by its plan."""
    return Begun(run_dir, model, workers, plan, command=command).wait()


def session_members(leader: int) -> list[int]:
    """Processes alive in the session that ``leader`` began; zombies are dead."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, _, _, session = (entry / "stat").read_text().rsplit(")", 1)[1].split()[:4]
            except (OSError, ValueError):  # it ended meanwhile
                continue
            if int(session) == leader and state not in "ZX":
                found.append(int(entry.name))
    return found


def _run(run_dir: Path, model: str, workers: int, plan: Plan, output: Path) -> None:
    _alone(output)
    trainer = prepare(run_dir, model, workers)
    _disturb(trainer, run_dir, plan)
    trainer.fit()


def _command(run_dir: Path, model: str, workers: int, plan: Plan, output: Path) -> None:
    from trainer.loop import Trainer

    _alone(output)
    sys.argv = ["train.py", *words(model, workers), f"hydra.run.dir={run_dir}"]
    real = Trainer.fit

    def fit(self: Trainer) -> Any:
        Trainer.fit = real
        _disturb(self, run_dir, plan)
        return self.fit()

    Trainer.fit = fit
    runpy.run_path(str(Path(__file__).parents[2] / "train.py"), run_name="__main__")


def _alone(output: Path) -> None:
    """A session and an output of its own, data workers as in an ordinary run, and the signals of a shell's child."""
    os.setsid()
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(file, stream)
    multiprocessing.set_start_method("fork", force=True)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _disturb(trainer: Any, run_dir: Path, plan: Plan) -> None:
    owner = os.getpid()
    trace = Trace(run_dir.parent) if plan.trace else None
    notes: dict[str, Any] = {"operations": 0, "events": {}, "signalled": None, "left": None}

    def kill() -> None:
        (os.killpg if plan.group else os.kill)(owner, signal.SIGKILL)
        signal.pause()

    def before(kind: str, path: str) -> None:
        if os.getpid() == owner:
            if trace is not None:
                trace.before(kind, path)
            if notes["operations"] == plan.operation:
                kill()
            notes["operations"] += 1

    waiting = plan.count

    def happens(event: str) -> None:
        nonlocal waiting
        notes["events"][event] = notes["events"].get(event, 0) + 1
        if event == plan.event and trainer.samples_seen >= plan.samples:
            if waiting == 0:
                kill()
            waiting -= 1

    def around(owner_of: Any, name: str, first: str = "", last: str = "") -> None:
        real: Callable[..., Any] = getattr(owner_of, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            if first:
                happens(first)
            result = real(*args, **kwargs)
            if last:
                happens(last)
            return result

        setattr(owner_of, name, call)

    around(trainer.task, "losses", "loss")
    around(trainer.task, "on_stage", "stage")
    around(trainer, "enter", last="entered")
    around(trainer, "at_boundary", "boundary", "passed")
    around(trainer, "finish", "finish")
    evaluate = trainer.task.evaluate

    def evaluated(loader: Any, ctx: Any) -> Any:
        if plan.clock:
            real = time.time
            time.time = lambda: real() + plan.clock
        return evaluate(_Told(loader, lambda: happens("batch")), ctx)

    trainer.task.evaluate = evaluated
    asked, fit = trainer.stop._handle, trainer.fit

    def handle(number: int, frame: Any) -> None:
        notes["signalled"] = [trainer.step, trainer.samples_seen] if notes["signalled"] is None else notes["signalled"]
        asked(number, frame)

    def noted() -> Any:
        try:
            return fit()
        finally:
            if plan.notes:
                notes["left"] = [trainer.step, trainer.samples_seen]
                Path(plan.notes).write_text(json.dumps(notes))
            if trace is not None:
                trace.save(Path(plan.trace))

    save = trainer.save

    def saved() -> None:
        save()
        if trace is not None:
            trace.promise(trainer.step)

    trainer.save = saved
    trainer.stop._handle, trainer.fit = handle, noted
    watch(run_dir, before, None if trace is None else trace.synced)
    sys.stdout.flush()


class _Told:
    """A loader that tells of each batch that is taken."""

    def __init__(self, loader: Any, tell: Callable[[], None]) -> None:
        self._loader, self._tell = loader, tell

    def __iter__(self) -> Iterator[Any]:
        for batch in self._loader:
            self._tell()
            yield batch

    def __len__(self) -> int:
        return len(self._loader)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)
