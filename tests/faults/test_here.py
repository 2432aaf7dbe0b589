"""A signal that was meant for who tries faults does not end in a trial that says something was lost."""

import os
import signal
from pathlib import Path

import pytest

from tests.faults.here import before_step, fit
from tests.helpers.toys import build_toy, toy_config
from trainer.loop import Trainer


class Told(Exception):
    """By a signal."""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_is_given_back(tmp_path: Path, name: str) -> None:
    def tell(number: int, frame: object) -> None:
        raise Told(signal.Signals(number).name)

    config = toy_config("linear")
    trainer = Trainer(config, lambda: build_toy(config), tmp_path)
    before_step(trainer, 1, lambda: os.kill(os.getpid(), getattr(signal, name)))
    before = signal.signal(getattr(signal, name), tell)
    try:
        with pytest.raises(Told, match=name):
            fit(trainer)
    finally:
        signal.signal(getattr(signal, name), before)
    assert (tmp_path / "stopped.json").exists() and not (tmp_path / "done.json").exists()
