"""Small classification runs for tests: configurations, fixed pictures, run directories."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainer.checkpoint.directory import Checkpoints
from trainer.cli import compose
from trainer.config.resolve import plain
from trainer.loop import Trainer
from vit.config import VitConfig
from vit.task import VitTask

SCHEMAS = {"vit": VitConfig}
QUIET = (
    "trainer.device=cpu",
    "trainer.precision=fp32",
    "logger.tensorboard=false",
    "trainer.log_every=50",
    "trainer.micro_batch=null",
    "trainer.visuals_every=0",
    "data.workers=0",
    "data.shapes_samples=64",
    "data.shapes_val_samples=20",
    "curriculum.stages.all.batch_size=8",
)


def mu_config(*words: str, model: str = "vit_mu") -> VitConfig:
    """vit_mu at 16 px on the built-in shapes, quietly on the CPU."""
    config = compose([f"model={model}", *QUIET, "resolution=[16,16]", *words], SCHEMAS)
    assert isinstance(config, VitConfig)
    return config


def mu_trainer(run_dir: Path, *words: str, model: str = "vit_mu") -> Trainer:
    config = mu_config(*words, model=model)
    return Trainer(config, lambda: VitTask(config), run_dir)


def task_of(trainer: Trainer) -> VitTask:
    assert isinstance(trainer.task, VitTask)
    return trainer.task


class FixedPictures:
    """A few pictures of noise with given labels; takes the place of a task's data set."""

    def __init__(self, labels: list[Any], size: int = 16, channels: int = 3) -> None:
        self.labels = labels
        generator = np.random.default_rng(0)
        self.images = generator.integers(0, 256, (len(labels), channels, size, size), dtype=np.uint8)

    def __len__(self) -> int:
        return len(self.labels)

    def sample(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        image: Tensor = torch.from_numpy(self.images[index])
        return {"image": image, "label": self.labels[index], "name": f"picture {index}"}


def make_run(folder: Path, config: VitConfig, head: float = 1.0, size: int | None = None) -> VitTask:
    """``config.yaml`` and one checkpoint of an untrained network whose head is drawn (``head`` is its scale).

    Args:
        size: of the pictures at the checkpoint's stage; None: as the run's.
    """
    import yaml

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(plain(config)))
    torch.manual_seed(0)
    task = VitTask(config)
    for name, parameter in task.model.named_parameters():
        if name.startswith("head"):
            torch.nn.init.normal_(parameter, std=head)
    weights = {f"model.{name}": value for name, value in task.model.state_dict().items()}
    meta = {
        "samples_seen": 14,
        "stage": "all",
        "resolution": [size, size] if size else list(config.resolution),
        "config": plain(config),
    }
    Checkpoints(folder).save(7, {"nothing": 0}, weights, weights, {**meta, "task": task.meta()})
    return task
