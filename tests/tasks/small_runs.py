"""A small vid2vid run with two stages, in a process of its own that is going to be killed."""

import multiprocessing
from pathlib import Path

WORDS = [
    "model=vid2vid_tiny",
    "trainer.max_samples=12",
    "trainer.checkpoint_every=2",
    "trainer.eval_every=8",
    "trainer.visuals_every=0",
    "trainer.log_every=1",
    "trainer.precision=fp32",
    "trainer.device=cpu",
    "logger.tensorboard=false",
    "data.clips=5",
    "data.val_clips=1",
    "data.val_frames=3",
]


def run(run_dir: Path, workers: int) -> None:
    multiprocessing.set_start_method("fork", force=True)  # data workers as in an ordinary run
    from trainer.cli import compose
    from trainer.loop import Trainer
    from vid2vid.config import Vid2VidConfig, Vid2VidStage
    from vid2vid.task import Vid2VidTask

    config = compose([*WORDS, f"data.workers={workers}"], {"vid2vid": Vid2VidConfig})
    config.curriculum.stages = {  # the change falls into the middle of the second epoch of five clips
        "short": Vid2VidStage(frames=3, batch_size=2),
        "long": Vid2VidStage(start=0.6, frames=6, batch_size=1),
    }
    Trainer(config, lambda: Vid2VidTask(config), run_dir).fit()
