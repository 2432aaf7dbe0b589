"""A segment whose losses or gradients were not finite, on disk: all that computing it again takes."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainer.checkpoint.weights import load_plain, unsafe_reason
from trainer.data.loader import to_device
from trainer.errors import CheckpointError
from trainer.files import write_json
from trainer.task import Segment


@dataclass
class Dump:
    """A dumped segment as ``load_dump`` reads it back.

    Attributes:
        step, samples_seen, stage, rank: where it happened.
        phases: the due ones in order; ``failed`` is the first bad one.
        segments: one per micro-batch.
        weights: of all networks before the segment, by canonical name.
        streams: state of all random streams before the first loss.
    """

    step: int
    samples_seen: int
    stage: str
    rank: int
    phases: list[str]
    failed: str
    segments: list[Segment]
    weights: dict[str, Tensor]
    streams: dict[str, Any] = field(default_factory=dict)


def write_dump(path: Path, content: Mapping[str, Any], config: Mapping[str, Any] | None) -> None:
    """Writes one process's part of a dump directory.

    Args:
        path: of the directory.
        content: what ``Dump`` has, but ``data``: those of its segments.
        config: the run's configuration as plain data, put beside it once for all processes; None: not here.
    """
    path.mkdir(parents=True, exist_ok=True)
    plain = {name: plain_tensors(value) for name, value in content.items()}
    torch.save(plain, path / f"rank{content['rank']}.pt")
    if config is not None:
        about = {name: content[name] for name in ("step", "samples_seen", "stage", "failed")}
        write_json(path / "config.json", about | {"config": config})


def load_dump(path: Path, rank: int, device: torch.device) -> Dump:
    """Reads a dump directory back.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    file = path / f"rank{rank}.pt"
    if not file.is_file():
        raise CheckpointError(
            f"trainer.replay={path}: there is no {file.name} in it; give a nonfinite/step-N directory of a run, "
            "with as many processes as it had"
        )
    try:
        content = load_plain(file)
    except CheckpointError as error:  # its advice is for weights
        reason = unsafe_reason(error.__cause__) if isinstance(error.__cause__, Exception) else error
        raise CheckpointError(f"trainer.replay={path}: {file.name} cannot be read ({reason})") from error
    try:
        data = content.pop("data")
        content.pop("stepped", None)  # dumps of before held weights after some phases' steps
        return Dump(**content, segments=[Segment(**to_device(part, device)) for part in data])
    except (AttributeError, KeyError, TypeError) as error:
        raise CheckpointError(f"trainer.replay={path}: {file.name} is no dump of a step ({error})") from error


def streams_state(generator: torch.Generator) -> dict[str, Any]:
    """The state of every random stream of this process. Taken every step, so it is made plain only when dumped."""
    state: dict[str, Any] = {
        "generator": generator.get_state(),
        "torch": torch.get_rng_state(),
        "numpy": np.random.get_state(legacy=True),
        "random": random.getstate(),
    }
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def restore_streams(state: Mapping[str, Any], generator: torch.Generator) -> None:
    """Counterpart of ``streams_state``; the device's own streams only where the device is of the same kind."""
    torch.set_rng_state(state["torch"])
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, np.asarray(keys).astype(np.uint32), *rest))
    version, words, gauss_next = state["random"]
    random.setstate((version, tuple(words), gauss_next))
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
    if (generator.device.type == "cuda") == ("cuda" in state):
        generator.set_state(state["generator"])


def plain_tensors(value: Any) -> Any:
    """Nested data with detached CPU copies of its tensors; what is neither data nor tensor becomes its ``repr``."""
    if isinstance(value, Tensor):
        return value.detach().cpu().clone()
    if isinstance(value, Mapping):
        return {str(key): plain_tensors(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(plain_tensors(item) for item in value)
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value.astype(np.int64) if value.dtype == np.uint32 else value.copy())
    return value if value is None or isinstance(value, bool | int | float | str) else repr(value)
