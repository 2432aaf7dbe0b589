"""``python train.py ...`` as a user types it, killed from its first instruction on: imports and configuration too."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.faults.catalogue import BOTH, Fault
from tests.faults.undisturbed import shared, undisturbed
from tests.helpers.exactness import assert_same, outcome
from tests.helpers.paths import ROOT
from tests.helpers.small_runs import words

LIMIT_S = 300.0


def start(run_dir: Path, model: str) -> subprocess.Popen[bytes]:
    """The command, in a session of its own; what it prints goes beside the run."""
    command = [sys.executable, str(ROOT / "train.py"), *words(model), f"hydra.run.dir={run_dir}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with run_dir.with_name(f"{run_dir.name}.out").open("ab") as output:
        return subprocess.Popen(
            command, cwd=run_dir.parent, env=environment, stdout=output, stderr=output, start_new_session=True
        )


def seconds(model: str) -> float:
    """That the command takes, undisturbed."""

    def make() -> float:
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            began = time.monotonic()
            assert start(Path(folder) / "run", model).wait(LIMIT_S) == 0
            assert_same(undisturbed(model)[0], outcome(Path(folder) / "run"))
            return time.monotonic() - began

    return shared(f"{model}-command", make)


def killed(folder: Path, model: str, number: int) -> None:
    """Killed twice: anywhere, and once more; then the command is left alone."""
    run_dir, chance = folder / "run", random.Random(number)
    for share in ((number + chance.random()) / 10, chance.random()):
        process = start(run_dir, model)
        try:
            process.wait(share * seconds(model))
        except subprocess.TimeoutExpired:
            process.kill()
        assert process.wait(LIMIT_S) in (-signal.SIGKILL, 0), run_dir.with_name("run.out").read_text()[-2000:]
    process = start(run_dir, model)
    assert process.wait(LIMIT_S) == 0, run_dir.with_name("run.out").read_text()[-2000:]
    assert_same(undisturbed(model)[0], outcome(run_dir))


FAULTS = [
    Fault(
        "SIGKILL of python train.py, twice",
        killed,
        BOTH,
        "the same command goes on from the newest checkpoint, and says from which",
        times=10,
    )
]
