"""Runs of two processes (gloo) of which one fails: all end, the first error is shown once, the same command goes on.

A rank is a copy of a warm process (tests/helpers/ranks.py); one fault is done under torchrun itself.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any

from tests.faults.catalogue import BOTH, Fault
from tests.faults.undisturbed import shared
from tests.helpers.exactness import assert_same, outcome
from tests.helpers.paths import ROOT
from tests.helpers.ranks import LAST_LINE, Ended, Ranks, train
from tests.helpers.small_runs import COMMON, WORDS

END_S = 60.0  # from the first process's end to the last one's; some 6 s where the machine does nothing else
LAUNCHER_S = 25.0  # later than the processes end by themselves, where they know of each other
HANG = "15s"  # more than a checkpoint takes where many trials run at once
RAISE = ("construction", "joining raises", "loss raises", "data raise", "data are refused", "evaluation raises",
         "saving raises", "visuals raise")  # fmt: skip
HANGING = ("loss hangs", "data hang", "evaluation hangs", "saving hangs")
SILENT = ("loss crashes", "loss exits", "loss leaves")
WHILE_SAVING = (
    "killed before its part is saved",
    "killed after its part is saved",
    "killed before a checkpoint is named",
)
SIGNALS = ("SIGTERM", "SIGUSR1", "SIGINT", "SIGHUP")


def started(folder: Path, model: str, mishap: str = "", whose: int = -1, **settings: Any) -> Ranks:
    shutil.rmtree(folder / "said", ignore_errors=True)
    return Ranks(folder / "said", 2, train, (str(folder / "run"), model, mishap, whose, settings)).start()


@cache
def whole(model: str) -> tuple[dict[str, Any], float]:
    """The outcome of the run in two processes that nothing disturbs, and how many seconds it takes."""

    def make() -> tuple[dict[str, Any], float]:
        with tempfile.TemporaryDirectory() as folder:
            assert [end.code for end in started(Path(folder), model).wait()] == [0, 0]  # warms up, too
            shutil.rmtree(Path(folder) / "run")
            began = time.monotonic()
            assert [end.code for end in started(Path(folder), model).wait()] == [0, 0]
            return outcome(Path(folder) / "run"), time.monotonic() - began

    return shared(f"{model}-two-processes", make)


def goes_on(folder: Path, model: str) -> None:
    """The same command, to its end: bitwise what it would have been."""
    ends = started(folder, model).wait()
    assert [end.code for end in ends] == [0, 0], ends
    assert_same(whole(model)[0], outcome(folder / "run"))


def one_error(ends: list[Ended], text: str, code: int, of_all: bool = True) -> None:
    """All have ended in time; what was said is said once, and nothing that follows from it."""
    assert all(end.seconds < END_S for end in ends), ends
    said = "".join(_ours(end.complained) for end in ends)
    assert said.count(text) == 1, ends
    assert "closed by peer" not in said and said.count("Traceback (most recent call last)") <= 1, ends
    if of_all:
        assert [end.code for end in ends] == [code, code], ends


def _ours(complained: str) -> str:
    """Without what torch's C++ warns of, which ``guarded`` turns off before torch is there."""
    return re.sub(r"^\[W.*?(?=^(?!frame|Exception|<omitting|\n)|\Z)", "", complained, flags=re.MULTILINE | re.DOTALL)


def raises(folder: Path, model: str, number: int) -> None:
    mishap, whose = RAISE[number % len(RAISE)], number // len(RAISE) % 2
    if mishap == "visuals raise":
        whose = 0  # who draws
    ends = started(folder, model, mishap, whose, visuals_every=None if mishap == "visuals raise" else "0").wait()
    refused = mishap == "data are refused"
    one_error(ends, LAST_LINE, 2 if refused else 1)
    assert LAST_LINE in ends[whose].complained and ("Traceback" in ends[whose].complained) != refused
    if number % 4 == 2:
        goes_on(folder, model)


def hangs(folder: Path, model: str, number: int) -> None:
    mishap, whose = HANGING[number % len(HANGING)], number // len(HANGING) % 2
    ends = started(folder, model, mishap, whose, hang_after=HANG).wait()
    one_error(ends, f"the other processes wait for rank {whose}", 1)
    assert "in hangs_here" in ends[whose].complained  # where it stands
    if number % 4 == 0:
        goes_on(folder, model)


def is_silent(folder: Path, model: str, number: int) -> None:
    mishap, whose = SILENT[number % len(SILENT)], number // len(SILENT) % 2
    ends = started(folder, model, mishap, whose).wait()
    how = "leaves in the middle of the run" if mishap == "loss leaves" else "has ended without a word"
    one_error(ends, how, 1, of_all=False)
    assert ends[1 - whose].code == 1 and f"rank {whose} (" in "".join(end.complained for end in ends)
    goes_on(folder, model)


def killed(folder: Path, model: str, number: int) -> None:
    """At a random moment, from the first second on."""
    draw = random.Random(f"{model} {number}")
    expected, seconds = whole(model)
    whose, after = number % 2, draw.uniform(0.1, seconds)
    ranks = started(folder, model)
    time.sleep(after)
    if ranks.processes[whose].is_alive():
        ranks.kill(whose)
    ends = ranks.wait(launcher_s=LAUNCHER_S)
    assert all(end.seconds < END_S for end in ends), ends
    had_met = (folder / "run" / "train.log").exists()  # before, only the launcher knows of each
    if ends[whose].code == -signal.SIGKILL and ends[1 - whose].code != 0 and had_met:
        assert ends[1 - whose].code == 1 and "closed by peer" not in ends[1 - whose].complained, ends
        assert ends[1 - whose].complained.count("error: rank") == 1, ends
    goes_on(folder, model)
    assert expected


def killed_while_saving(folder: Path, model: str, number: int) -> None:
    mishap = WHILE_SAVING[number % len(WHILE_SAVING)]
    whose = 0 if mishap == WHILE_SAVING[2] else number // len(WHILE_SAVING) % 2
    ends = started(folder, model, mishap, whose).wait()
    one_error(ends, "has ended without a word", 1, of_all=False)
    assert ends[whose].code == -signal.SIGKILL and ends[1 - whose].code == 1, ends
    goes_on(folder, model)


def asked_to_stop(folder: Path, model: str, number: int) -> None:
    """One of them or both, once the run is under way: all stop at the same step, with a checkpoint of it."""
    draw = random.Random(f"{model} {number}")
    name, whom = SIGNALS[number % len(SIGNALS)], ((1,), (0,), (0, 1))[number // len(SIGNALS) % 3]
    ranks = started(folder, model)
    log = folder / "run" / "train.log"
    until = time.monotonic() + END_S
    while not (log.exists() and "step 1 " in log.read_text()) and time.monotonic() < until:
        time.sleep(0.01)
    time.sleep(draw.uniform(0.0, whole(model)[1] / 2))
    for rank in whom:
        if ranks.processes[rank].is_alive():
            ranks.kill(rank, getattr(signal, name))
    ends = ranks.wait()
    text = log.read_text()
    stops = re.findall(r"stopped at step (\d+)", text)
    if not (folder / "run" / "done.json").exists():  # else the signal may have met a process that was leaving
        assert len({end.code for end in ends}) == 1, ends
        assert len(stops) == 1 and ends[0].code in (0, 75), (ends, text)
        newest = (folder / "run" / "checkpoints" / "latest").read_text().strip()
        assert newest == f"step-{int(stops[0]):08d}", text
    goes_on(folder, model)


def torchrun(folder: Path, name: str, model: str, *before: str) -> subprocess.Popen[str]:
    """``train.py`` under torchrun, in two processes."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", *before]
    words = [*COMMON, *WORDS[model], "data.workers=0", "curriculum.stages.all.batch_size=2"]
    environment = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE")}
    return subprocess.Popen(
        [*command, str(ROOT / "train.py"), f"model={model}", f"hydra.run.dir={folder / name}", f"name={model}", *words],
        cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def workers_of(agent: int) -> list[int]:
    """The processes that torchrun has started, in the order of their ranks."""
    with open(f"/proc/{agent}/task/{agent}/children") as file:
        return sorted(map(int, file.read().split()))


def restarted(folder: Path, model: str, number: int) -> None:
    """torchrun starts all processes anew when one is killed, and they go on from the newest checkpoint."""
    undisturbed = torchrun(folder, "whole", model)
    said, _ = undisturbed.communicate(timeout=300)
    assert undisturbed.returncode == 0, said
    agent = torchrun(folder, "run", model, "--max-restarts=3")
    until = time.monotonic() + 200
    latest = folder / "run" / "checkpoints" / "latest"
    while not latest.exists() and time.monotonic() < until and agent.poll() is None:
        time.sleep(0.02)
    time.sleep(random.Random(number).uniform(0.0, 1.0))
    os.kill(workers_of(agent.pid)[number % 2], signal.SIGKILL)
    said, _ = agent.communicate(timeout=300)
    assert agent.returncode == 0, said
    assert "resumed from" in said and "closed by peer" not in said, said
    assert_same(outcome(folder / "whole"), outcome(folder / "run"))


FAULTS = [
    Fault(
        "two processes: one raises an error",
        raises,
        BOTH,
        "its traceback or message once, and the exit code of all processes; nothing of what follows from it",
        times=8,
        slow=0,
        on_a_card=False,
    ),
    Fault(
        "two processes: one is killed at a random moment",
        killed,
        BOTH,
        "which process ended without a word; the same command goes on",
        times=4,
        on_a_card=False,
    ),
    Fault(
        "two processes: one crashes or leaves without an error",
        is_silent,
        BOTH,
        "which process ended without a word; the same command goes on",
        times=3,
        slow=0,
        on_a_card=False,
    ),
    Fault(
        "two processes: one is killed while a checkpoint is written",
        killed_while_saving,
        BOTH,
        "which process ended without a word; the checkpoint before counts",
        times=3,
        slow=0,
        on_a_card=False,
    ),
    Fault(
        "two processes: one hangs",
        hangs,
        BOTH,
        "after trainer.hang_after all end; which one the others waited for, and where it stands",
        times=4,
        slow=0,
        on_a_card=False,
    ),
    Fault(
        "two processes: a signal to one or both",
        asked_to_stop,
        BOTH,
        "all stop after the same step, with one checkpoint of it",
        times=4,
        slow=0,
        on_a_card=False,
    ),
    Fault(
        "two processes under torchrun --max-restarts: one is killed",
        restarted,
        ("vit_mu",),
        "torchrun says which; all begin anew and go on from the newest checkpoint",
        times=1,
        on_a_card=False,
    ),
]
