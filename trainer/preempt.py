"""Being asked to stop: a signal sets a flag, and the loop saves and leaves at the next batch boundary.

Handlers do nothing but set the flag: input, output or collectives inside a handler can deadlock or tear a
file that the interrupted code was writing.

A run that was stopped, by a signal or by ``trainer.max_minutes``, leaves ``stopped.json`` beside its checkpoint, and
``train.py`` exits with ``STOPPED``; a run that is done leaves ``done.json`` and exits with 0. Under torchrun its
processes exit with 0 in both cases, for torchrun takes anything else for a failure, and with ``--max-restarts`` would
start again what was asked to stop: there the file tells.

Under Slurm ``#SBATCH --signal=USR1@120`` with ``srun python train.py ...`` signals every process of the step. A process
that knows nothing of the signal dies of it, and so would torchrun, which then leaves its processes behind: tell it with
``torchrun --signals-to-handle=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1 ...``, or use ``--signal=TERM@120``. It hands the
signal on, waits 30 s for the last batch and the checkpoint, and ends with exit code 1.
"""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any

STOPPED = 75  # exit code: asked to stop, saved, not done (EX_TEMPFAIL of sysexits.h: try again later)
_NAMES = ("SIGTERM", "SIGUSR1", "SIGUSR2", "SIGHUP", "SIGINT")


class StopFlag:
    """Context manager that turns a signal to stop, and the first SIGINT, into ``requested = True``.

    They are SIGTERM, SIGUSR1, SIGUSR2 (which submitit sends) and SIGHUP.

    A second SIGINT raises KeyboardInterrupt, for those who do not want to wait. The handlers found on
    entering are put back on leaving; under nohup SIGHUP stays ignored. Outside the main thread, where Python allows no
    handlers, the flag works without signals.

    Attributes:
        requested: whether the process was asked to stop. May also be set by hand (a time limit).
        signal_name: which signal asked, for the message; None when none did.
        undone: whether a run has ended for it, saved, before it was done.
    """

    def __init__(self) -> None:
        self.requested = False
        self.signal_name: str | None = None
        self.undone = False
        self._interrupted = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopFlag:
        if threading.current_thread() is threading.main_thread():
            for name in _NAMES:
                number = getattr(signal, name, None)  # some exist on POSIX only
                ignored = name == "SIGHUP" and number is not None and signal.getsignal(number) == signal.SIG_IGN
                if number is not None and not ignored:
                    self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._previous.items():
            # None: a handler that was not installed from Python and cannot be put back
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._previous.clear()

    def __call__(self) -> bool:
        """``requested``, for passing the flag where a function is wanted."""
        return self.requested

    def heed(self) -> None:
        """For work that leaves nothing behind, such as timing: raises KeyboardInterrupt once a stop was asked for."""
        if self.requested:
            raise KeyboardInterrupt

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            if self._interrupted:
                raise KeyboardInterrupt
            self._interrupted = True
        self.requested = True
        self.signal_name = signal.Signals(number).name


def exit_code() -> int:
    """With what a process exits whose run was stopped."""
    return 0 if "TORCHELASTIC_RUN_ID" in os.environ else STOPPED
