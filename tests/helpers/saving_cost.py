"""What a checkpoint costs: ``python -m tests.helpers.saving_cost FOLDER [SAVES]``.

Steps and checkpoints alternate in one run, so that both meet the same other work on the machine; medians of both, and
the share of the time that a checkpoint every 500 steps takes.
"""

import statistics
import sys
import time
from pathlib import Path
from typing import Any

from trainer.cli import compose

MODELS = {
    "vid2vid demo": ["experiment=vid2vid/demo"],
    "vit_mu": ["model=vit_mu"],
}
EVERY = 500
COMMON = ["trainer.device=cpu", "trainer.eval_every=0", "trainer.checkpoint_every=8", "logger.tensorboard=false"]


def measure(folder: Path, words: list[str], saves: int) -> tuple[list[float], list[float], int]:
    """Seconds of each step and of each checkpoint, and a checkpoint's bytes; the first two of both are left out."""
    from train import SCHEMAS, build_task
    from trainer.loop import Trainer

    most = f"trainer.max_steps={8 * (saves + 2)}"
    config = compose([*words, *COMMON, most, "trainer.max_samples=null", "trainer.max_epochs=null"], SCHEMAS)
    trainer = Trainer(config, lambda: build_task(config), folder)
    steps: list[float] = []
    took: list[float] = []

    def timed(into: list[float], action: Any) -> Any:
        def run(*args: Any) -> Any:
            began = time.perf_counter()
            result = action(*args)
            into.append(time.perf_counter() - began)
            return result

        return run

    trainer.train_step = timed(steps, trainer.train_step)
    trainer.save = timed(took, trainer.save)
    trainer.fit()
    newest = trainer.checkpoints.latest()
    assert newest is not None
    size = sum(file.stat().st_size for file in newest.rglob("*") if file.is_file())
    return steps[2:], took[2:], size


def main() -> None:
    folder, saves = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 12
    for name, words in MODELS.items():  # the larger one first
        steps, took, size = measure(folder / name.replace(" ", "_"), words, saves)
        step, save = statistics.median(steps), statistics.median(took)
        print(
            f"{name}: a step {step * 1e3:.1f} ms, a checkpoint {save * 1e3:.0f} ms ({min(took) * 1e3:.0f} to "
            f"{max(took) * 1e3:.0f}), {size / 2**20:.1f} MiB: {100 * save / (EVERY * step):.2f} % every {EVERY} steps"
        )


if __name__ == "__main__":
    main()
