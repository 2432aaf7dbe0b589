"""Runs of several processes on this machine, each begun as a copy of a warm one, in which something goes wrong.

What goes wrong is a name of ``MISHAPS`` here, done by one rank in its own process.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.helpers.exactness import killable_processes
from tests.helpers.forking import free_port

PRELOAD = ("tests.helpers.ranks", "train", "trainer.loop", "tests.helpers.small_runs", "vit.task", "vid2vid.task")
LAST_LINE = "deliberately"


@dataclass(frozen=True)
class Ended:
    """How a rank ended.

    Attributes:
        code: as multiprocessing has it: negative for a signal.
        seconds: after the first of all ranks ended.
    """

    code: int
    said: str
    complained: str
    seconds: float


@dataclass
class Ranks:
    """Processes that call ``target(rank, *arguments)`` as ``train.py`` calls its main, started as torchrun would."""

    folder: Path
    world: int
    target: Callable[..., None]
    arguments: Sequence[Any] = ()
    processes: list[Any] = field(default_factory=list)

    def start(self) -> Ranks:
        context = killable_processes(*PRELOAD)
        self.folder.mkdir(parents=True, exist_ok=True)
        port = free_port()
        for rank in range(self.world):
            words: Any = (rank, self.world, port, str(self.folder), self.target, tuple(self.arguments))
            process = context.Process(target=_main, args=words)
            process.start()
            self.processes.append(process)
        return self

    def kill(self, rank: int, number: int = signal.SIGKILL) -> None:
        os.kill(self.processes[rank].pid, number)

    def wait(self, timeout: float = 240.0, launcher_s: float | None = None) -> list[Ended]:
        """How all ended. Where one does not, it is killed, and this fails.

        Args:
            launcher_s: so long after the first one's end the others get SIGTERM, and SIGKILL as much later; from
                torchrun they do at once, and 30 s later.
        """
        until, ends = time.monotonic() + timeout, dict[int, float]()
        while len(ends) < self.world and time.monotonic() < until:
            for rank, process in enumerate(self.processes):
                if rank not in ends and not process.is_alive():
                    ends[rank] = time.monotonic()
            if launcher_s is not None and ends and time.monotonic() > min(ends.values()) + launcher_s:
                over = time.monotonic() > min(ends.values()) + 2 * launcher_s
                for process in self.processes:
                    (process.kill if over else process.terminate)()
            time.sleep(0.02)
        left = [rank for rank in range(self.world) if rank not in ends]
        for rank in left:
            self.processes[rank].kill()
        first = min(ends.values(), default=0.0)
        texts = [[(self.folder / f"{name}{rank}").read_text() for name in ("out", "err")] for rank in range(self.world)]
        assert not left, f"rank {left} did not end: {texts}"
        codes = [process.exitcode for process in self.processes]
        return [Ended(codes[rank], texts[rank][0], texts[rank][1], ends[rank] - first) for rank in range(self.world)]


def _main(
    rank: int, world: int, port: int, folder: str, target: Callable[..., None], arguments: tuple[Any, ...]
) -> None:
    from trainer.cli import guarded

    for number, name in ((1, "out"), (2, "err")):
        file = os.open(f"{folder}/{name}{rank}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
        os.close(file)
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world), LOCAL_WORLD_SIZE=str(world))
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    if world == 1:
        del os.environ["RANK"], os.environ["WORLD_SIZE"]
    code: int | str | None = 0
    try:
        guarded(lambda: target(rank, *arguments))()
    except SystemExit as stop:
        code = stop.code
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        code = 1
    atexit._run_exitfuncs()  # which processes of multiprocessing leave out
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 0)


# Runs


def config_of(model: str, **settings: Any) -> Any:
    """A small run of a model whose batches two processes can share; ``settings`` are keys of the trainer."""
    from tests.helpers.small_runs import configured

    config = configured(model)
    for stage in config.curriculum.stages.values():
        stage.batch_size = max(stage.batch_size, 2)
    for key, value in settings.items():
        setattr(config.trainer, key, value)
    return config


def train(
    rank: int, run_dir: str, model: str, mishap: str = "", whose: int = -1, settings: dict[str, Any] | None = None
) -> None:
    """One rank's training, in which a mishap happens to one of them."""
    from train import build_task
    from trainer.loop import Trainer

    config = config_of(model, **(settings or {}))
    mine = mishap if rank == whose else ""
    if mine == "construction":
        raise ZeroDivisionError(LAST_LINE)
    trainer = Trainer(config, lambda: build_task(config), Path(run_dir))
    if mine:
        MISHAPS[mine](trainer)
    trainer.fit()


def _fails(*_: Any, **__: Any) -> Any:
    raise ZeroDivisionError(LAST_LINE)


def _refuses(*_: Any, **__: Any) -> Any:
    from trainer.errors import DataError

    raise DataError(f"x.png: broken {LAST_LINE}")


def hangs_here(*_: Any, **__: Any) -> Any:
    while True:
        time.sleep(0.1)


def _crashes(*_: Any, **__: Any) -> Any:
    os.kill(os.getpid(), signal.SIGSEGV)
    time.sleep(60)


def _exits(*_: Any, **__: Any) -> Any:
    os._exit(0)


def _leaves(*_: Any, **__: Any) -> Any:
    sys.exit(0)


def _killed(*_: Any, **__: Any) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def _in_losses(action: Callable[..., Any], step: int = 3) -> Callable[[Any], None]:
    def put(trainer: Any) -> None:
        losses = trainer.task.losses

        def instead(phase: str, segment: Any, ctx: Any) -> Any:
            return action() if ctx.step == step else losses(phase, segment, ctx)

        trainer.task.losses = instead

    return put


def _in_data(action: Callable[..., Any]) -> Callable[[Any], None]:
    def put(trainer: Any) -> None:
        dataset = trainer.task.dataset

        def instead(split: str, stage: Any) -> Any:
            found = dataset(split, stage)
            sample = found.sample
            left = [1]

            def late(*words: Any, **more: Any) -> Any:
                left[0] -= 1
                return action() if left[0] < 0 else sample(*words, **more)

            found.sample = late
            return found

        trainer.task.dataset = instead

    return put


def _instead_of(name: str, action: Callable[..., Any], of: Callable[[Any], Any] = lambda trainer: trainer) -> Any:
    return lambda trainer: setattr(of(trainer), name, action)


def _while_saving(action: Callable[..., Any], call: int) -> Callable[[Any], None]:
    """While the second checkpoint is written: before its parts (0), among them (1), before it is named (2)."""

    def put(trainer: Any) -> None:
        from trainer.checkpoint import directory

        place: Any = directory if call < 2 else directory.Checkpoints
        name = "save_tensors" if call < 2 else "_publish"
        found, count = getattr(place, name), [0]

        def instead(*words: Any, **more: Any) -> Any:
            count[0] += 1
            if count[0] != 2:
                return found(*words, **more)
            if call == 1:
                found(*words, **more)
            return action()

        setattr(place, name, instead)

    return put


MISHAPS: dict[str, Callable[[Any], None]] = {
    "loss raises": _in_losses(_fails),
    "data raise": _in_data(_fails),
    "data are refused": _in_data(_refuses),
    "evaluation raises": _instead_of("evaluate", _fails, lambda trainer: trainer.task),
    "saving raises": _instead_of("save", _fails),
    "visuals raise": _instead_of("visuals", _fails, lambda trainer: trainer.task),
    "joining raises": _instead_of("start", _fails, lambda trainer: trainer.parallel),
    "loss hangs": _in_losses(hangs_here),
    "data hang": _in_data(hangs_here),
    "evaluation hangs": _instead_of("evaluate", hangs_here, lambda trainer: trainer.task),
    "saving hangs": _instead_of("save", hangs_here),
    "loss crashes": _in_losses(_crashes),
    "loss exits": _in_losses(_exits),
    "loss leaves": _in_losses(_leaves),
    "killed before its part is saved": _while_saving(_killed, 0),
    "killed after its part is saved": _while_saving(_killed, 1),
    "killed before a checkpoint is named": _while_saving(_killed, 2),
}
