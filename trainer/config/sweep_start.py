"""Where a sweep is, noted in the process that starts it: its jobs may run in others (joblib, Slurm). Loads no torch."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

CODE = Path(__file__).resolve().parents[2]
STARTED: dict[Path, bool] = {}  # folders of sweeps started here; whether curves are wanted


class Note(Callback):
    """Named in ``configs/train.yaml``, so that Hydra calls it whichever launcher is chosen."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        # Jobs that are started elsewhere load what was pickled here: they must find the same code, installed or not.
        paths = [str(CODE), *filter(None, [os.environ.get("PYTHONPATH")])]
        os.environ["PYTHONPATH"] = os.pathsep.join(paths)
        if not OmegaConf.select(config, "trainer.dry_run", default=False):
            STARTED[Path(config.hydra.sweep.dir)] = bool(OmegaConf.select(config, "logger.curves", default=True))
