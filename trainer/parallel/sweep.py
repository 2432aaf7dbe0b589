"""A sweep over the cards of one machine: a queue of runs, each a process that sees one card.

Names, folders and comparison are those of ``train.py -m``, so that either goes on with what the other began. It ends no
sweep that a run fails, and starts every run that is not done: where it was is what its own folder says.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from trainer.config.schema import Schemas
from trainer.config.short_forms import written_out
from trainer.config.sweeps import sweep_folder
from trainer.errors import ConfigError
from trainer.parallel.trainings import has_ended, start
from trainer.preempt import STOPPED, StopFlag
from trainer.records.curves import read_record

POLL_S = 0.5
_TAIL = 65536  # bytes of a metrics.jsonl that surely hold its last records


@dataclass
class Run:
    """One combination.

    Attributes:
        folder: where it writes.
        words: what ``train.py`` is called with, as Hydra reads it.
        state: waiting, running, done, stopped, failed.
        card: that it has or had; "" for none.
        code: exit code, once it has ended.
    """

    folder: Path
    words: list[str]
    state: str = "waiting"
    card: str = ""
    code: int | None = None


def combinations(words: Sequence[str], schemas: Schemas, folder_of: Callable[[list[str]], Path]) -> list[Run]:
    """The runs of a sweep, in the order of Hydra's own.

    Args:
        words: ``key=value`` as after ``train.py -m``.
        folder_of: the sweep's folder, of the words of its first run.

    Raises:
        ConfigError: words of Hydra's own, or which cannot be read; two combinations have one folder.
    """
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    hydras = [word for word in words if word.lstrip("+~").startswith(("hydra.", "hydra/", "-"))]
    if hydras:
        raise ConfigError(f"{hydras[0]}: scripts/sweep.py takes none of Hydra's own; python train.py -m does")
    argv = written_out(words, True, schemas)
    try:
        lists = BasicSweeper.split_arguments(OverridesParser.create().parse_overrides(argv), None)[0]
    except HydraException as error:
        raise ConfigError(f"{' '.join(words)}: {error}") from error
    base = folder_of(lists[0])
    runs = []
    for own in lists:
        hydra = SimpleNamespace(sweep=SimpleNamespace(dir=base), overrides=SimpleNamespace(task=own))
        runs.append(Run(sweep_folder(hydra, argv), own))
    folders = [run.folder for run in runs]
    twice = next((folder for folder in folders if folders.count(folder) > 1), None)
    if twice is not None:
        raise ConfigError(f"two combinations would write into {twice}: a value is given twice")
    return runs


class Sweep:
    """Runs of a queue, some at a time.

    Args:
        runs: in the order in which they start.
        cards: as ``CUDA_VISIBLE_DEVICES`` names them; none: runs see what this process sees.
        jobs: how many run at once; card number i modulo their count has the i-th.
        show: is called with the runs at the start, on every change, and each time around.
    """

    def __init__(
        self,
        runs: Sequence[Run],
        cards: Sequence[str],
        jobs: int,
        show: Callable[[Sequence[Run]], Any] = lambda runs: None,
    ) -> None:
        self.runs, self.cards, self.jobs, self.show = list(runs), list(cards), jobs, show
        self._slots: dict[int, tuple[Run, subprocess.Popen[bytes]]] = {}

    def run(self) -> bool:
        """Until all runs have ended, or this process is asked to stop, which stops them with checkpoints.

        Returns:
            Whether it was asked to stop.
        """
        with StopFlag() as stop:
            try:
                told = False
                while self._slots or (self._waiting() and not stop()):
                    if stop() and not told:
                        told = True
                        self._signal(signal.SIGTERM)
                    elif not stop():
                        self._fill()
                    self.show(self.runs)
                    time.sleep(POLL_S)
                    self._reap()
            finally:  # a second Ctrl-C, or an error of ours: none is left behind
                self._signal(signal.SIGTERM)
                for run, process in self._slots.values():
                    run.code = process.wait()
        self.show(self.runs)
        return stop.requested

    def _waiting(self) -> list[Run]:
        return [run for run in self.runs if run.state == "waiting"]

    def _fill(self) -> None:
        for slot in range(self.jobs):
            waiting = self._waiting()
            if slot in self._slots or not waiting:
                continue
            run = waiting[0]
            run.card = self.cards[slot % len(self.cards)] if self.cards else ""
            self._slots[slot] = run, start(run.folder, run.words, self._environment(run.card))
            run.state = "running"

    def _environment(self, card: str) -> Mapping[str, str]:
        environment = dict(os.environ)
        if card:
            environment["CUDA_VISIBLE_DEVICES"] = card
        from trainer.data.workers import usable_cores  # loads torch

        together = min(self.jobs, len(self.runs))
        # They share the machine's cores and memory as the processes of one training do.
        environment["LOCAL_WORLD_SIZE"] = str(together)
        environment.setdefault("OMP_NUM_THREADS", str(max(usable_cores() // together, 1)))
        return environment

    def _reap(self) -> None:
        for slot, (run, process) in list(self._slots.items()):
            run.code = process.poll()
            if run.code is None:
                continue
            del self._slots[slot]
            if run.code == 0 and has_ended(run.folder):
                run.state = "done"
            else:
                run.state = "stopped" if run.code in (0, STOPPED) else "failed"

    def _signal(self, number: int) -> None:
        for _, process in self._slots.values():
            process.send_signal(number)


def last_record(folder: Path) -> dict[str, Any]:
    """The newest record of training of a run; empty where there is none."""
    path = folder / "metrics.jsonl"
    if not path.is_file():
        return {}
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - _TAIL, 0))
        lines = file.read().splitlines()
    found = (read_record(line) for line in reversed(lines))
    return next((record for record in found if record is not None and "eta_s" in record), {})
