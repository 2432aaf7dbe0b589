"""A run that trains for as long as it is let: the trainer itself with a toy, a few steps a second.

python -m tests.helpers.slow_training RUN
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from tests.helpers.toys import LinearTask, toy_config
from trainer.loop import Trainer

PAUSE_S = 0.15  # before each step


class SlowTask(LinearTask):
    """A linear classifier that takes its time."""

    def losses(self, *given: Any) -> Any:
        time.sleep(PAUSE_S)
        return super().losses(*given)


if __name__ == "__main__":
    config = toy_config("linear", max_samples=100_000, log_every=1, eval_every=20, checkpoint_every=10)
    Trainer(config, SlowTask, Path(sys.argv[1])).fit()
