"""A network out of a run: find the checkpoint, read its weights, put them into the module that they were trained in.

Which weights these are, as trained or averaged (EMA), is told by the file that they were read from: a configuration
tells only what the run kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor, nn

from trainer.checkpoint.contents import BEST, EMA, META, WEIGHTS, altered, damage, pointed, read_meta
from trainer.checkpoint.directory import Checkpoints
from trainer.checkpoint.run_folders import several_runs
from trainer.checkpoint.weights import compare_architecture, read_pth, read_safetensors
from trainer.errors import CheckpointError

Module = TypeVar("Module", bound=nn.Module)


@dataclass(frozen=True)
class TrainedWeights:
    """The weights of one of a task's networks.

    Attributes:
        state: tensors under the network's own names, on the CPU.
        meta: of the checkpoint; empty for a weights file without any beside it.
        source: the checkpoint directory or the weights file.
        averaged: whether they are the averaged (EMA) ones.
    """

    state: dict[str, Tensor]
    meta: dict[str, Any]
    source: Path
    averaged: bool

    @property
    def which(self) -> str:
        """Which weights these are, in words."""
        if self.averaged:
            return "averaged (EMA) weights"
        alone = self.source.is_dir() and not (self.source / EMA).exists()
        return "raw weights, for there are no averaged (EMA) ones" if alone else "raw weights"

    @property
    def line(self) -> str:
        """One line for the user: which weights these are, whence, and how far trained."""
        return f"{self.which} of {self.source}, step {self.meta.get('step', 0)}"

    def into(self, module: Module, called: str) -> Module:
        """The module with these weights, in eval mode, its parameters without gradients.

        Args:
            called: how a message calls the network.

        Raises:
            CheckpointError: the module is of another architecture.
        """
        self.check(module, called)
        module.load_state_dict(self.state)
        return module.eval().requires_grad_(False)

    def check(self, module: nn.Module, called: str) -> None:
        """Raises CheckpointError where the module, which may be on the device ``meta``, is of another architecture."""
        compare_architecture(module.state_dict(), self.state, f"the {called} in {self.source}")


def read_trained(source: Path, network: str, ema: bool = True) -> TrainedWeights:
    """The weights of a network of the task that wrote a checkpoint.

    Args:
        source: a checkpoint directory or a weights file (``find_checkpoint``), or another run's directory.
        network: its name in ``Task.networks``.
        ema: prefer the averaged weights where a checkpoint has them.

    Raises:
        CheckpointError: see ``load_weights``.
    """
    source = checkpoint_of(source)
    weights, meta = load_weights(source, ema)
    averaged = ema and (source / EMA).exists() if source.is_dir() else source.name == EMA
    return TrainedWeights(of_network(weights, network), meta, source, averaged)


def of_network(weights: Mapping[str, Tensor], network: str) -> dict[str, Tensor]:
    """Those of one of the networks, under its own names."""
    prefix = f"{network}."
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


def find_checkpoint(run_dir: Path, checkpoint: str | None) -> Path:
    """Where the weights are: the run's newest checkpoint, one of its own by name, or any path.

    Raises:
        CheckpointError: nothing there; lists the checkpoints that the run has.
    """
    checkpoints = Checkpoints(run_dir)
    if checkpoint is None:
        path = checkpoints.latest()
        if path is None:
            raise CheckpointError(
                f"{run_dir} holds no finished checkpoint; train on (trainer.checkpoint_every), or give checkpoint=PATH"
            )
        return path
    for path in (checkpoints.folder / checkpoint, Path(checkpoint).expanduser()):
        if path.exists():
            return pointed(path)
    if checkpoint == BEST:
        raise CheckpointError(
            f"checkpoint=best: {run_dir} keeps none; trainer.keep_best=METRIC does, and checkpoint= takes the others: "
            f"{', '.join(sorted(p.name for p in checkpoints.folder.glob('step-*')))}"
        )
    have = ", ".join(sorted(p.name for p in checkpoints.folder.glob("step-*") if p.is_dir())) or "none"
    raise CheckpointError(f"checkpoint={checkpoint} does not exist; {checkpoints.folder} has: {have}")


def load_weights(path: Path | str, ema: bool = True) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights and meta from wherever they are, on the CPU.

    Args:
        path: a run directory, a checkpoint directory, a ``.safetensors`` file, or a ``.pth``/``.pt`` state
            dict (read with ``weights_only=True``; one level of ``state_dict``, ``model`` or ``params`` is
            looked into).
        ema: prefer the averaged weights where a checkpoint has them.

    Returns:
        Tensors by name, and the checkpoint's meta data (empty for files without any).

    Raises:
        CheckpointError: nothing there, no usable checkpoint, or a file that is damaged or holds no plain
            tensors.
    """
    path = checkpoint_of(Path(path))
    if path.is_dir():
        name = EMA if ema and (path / EMA).exists() else WEIGHTS
        reason = damage(path) or altered(path, [name])
        if reason:
            raise CheckpointError(f"cannot read weights from {path}: {reason}. Give another checkpoint of its run")
        file = path / name
        return read_safetensors(file), read_meta(path)
    if path.suffix == ".safetensors":
        near = path.parent / META
        return read_safetensors(path), (read_meta(path.parent) if near.exists() else {})
    return read_pth(path), {}


def checkpoint_of(path: Path) -> Path:
    """The checkpoint directory or weights file that a path means: of a run its newest.

    Raises:
        CheckpointError: nothing there, or no finished checkpoint.
    """
    path = pointed(path)
    if not path.exists():
        raise CheckpointError(f"{path} does not exist: give a run directory, a checkpoint or a weights file")
    if not path.is_dir() or (path / META).exists():
        return path
    found = Checkpoints(path).latest()
    if found is None:
        lacking = f"{path} holds no finished checkpoint: train first, or give a weights file"
        raise CheckpointError(several_runs(path) or lacking)
    return found
