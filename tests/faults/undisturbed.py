"""Runs that nothing disturbs: what every trial compares with, made once for all processes that try faults."""

from __future__ import annotations

import os
import pickle
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from trainer.files import replace_file, take_lock

KEPT = "VIVID_FAULTS_UNDISTURBED"  # environment: the folder that processes share


def shared(name: str, make: Callable[[], Any]) -> Any:
    """What ``make`` returns, made by one process and read by the others.

    Args:
        name: of the file.
        make: gives something that can be pickled.
    """
    folder = Path(os.environ.setdefault(KEPT, tempfile.mkdtemp(prefix="undisturbed-")))
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / f"{name}.pickle"
    with (folder / f"{name}.lock").open("w") as lock:
        assert take_lock(lock.fileno(), wait=True)
        if not place.exists():
            made = make()
            replace_file(place, lambda to: to.write_bytes(pickle.dumps(made)))
    return pickle.loads(place.read_bytes())


@cache
def undisturbed(model: str, workers: int = 0) -> tuple[dict[str, Any], float]:
    """The outcome of a small run (tests/helpers/small_runs.py), and how many seconds its process takes."""

    def make() -> tuple[dict[str, Any], float]:
        from tests.helpers.exactness import outcome
        from tests.helpers.killed_runs import run_to_end

        with tempfile.TemporaryDirectory() as folder:
            began = time.monotonic()
            assert run_to_end(Path(folder) / "run", model, workers).code == 0
            return outcome(Path(folder) / "run"), time.monotonic() - began

    return shared(f"{model}-{workers}", make)
