"""An auto-encoder of styles out of a run directory."""

from __future__ import annotations

from pathlib import Path

import torch

from trainer.checkpoint.trained import find_checkpoint, read_trained
from trainer.cli import load_run
from trainer.config.schema import Schemas
from trainer.errors import ConfigError
from vit.stylize.config import StylizerConfig
from vit.stylize.network import AutoEncoder

NETWORK = "stylizer"  # its name in ``StylizerTask.networks``


def build_network(config: StylizerConfig) -> AutoEncoder:
    """The network of a run, its weights drawn from torch's global random stream."""
    widths = config.model.widths
    return AutoEncoder(widths, config.model.repeats, range(1, len(widths) + 1))


def load_stylizer(run_dir: str | Path, schemas: Schemas, checkpoint: str | None = None) -> tuple[AutoEncoder, str]:
    """The network of a run of task stylizer, in eval mode on the CPU, and a line for the user: which weights these are.

    Args:
        run_dir: such as ``runs/stylizer``.
        schemas: of all tasks.
        checkpoint: one of the run's by name, or a path; None: the newest.

    Raises:
        UserError: no such run. ConfigError: a run of another task. CheckpointError: no checkpoint, or a damaged one.
    """
    config = load_run(run_dir, schemas)
    if not isinstance(config, StylizerConfig):
        raise ConfigError(
            f"run={run_dir} is a run of task {config.task}, which draws no pictures: train one with "
            "experiment=vit/stylizer and give its folder, or encoder= and decoders= of a VGG-19"
        )
    trained = read_trained(find_checkpoint(Path(run_dir), checkpoint), NETWORK)
    with torch.random.fork_rng(devices=[]):
        network = build_network(config)
    return trained.into(network, "auto-encoder"), trained.line
