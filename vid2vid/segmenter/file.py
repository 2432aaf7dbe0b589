"""A trained segmenter on disk: weights as safetensors, and in the header what it tells apart and how well."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainer.checkpoint.weights import compare_architecture, read_safetensors, save_weights
from trainer.errors import CheckpointError
from trainer.files import replace_file
from trainer.untrusted import plain_json
from vid2vid.encoding import images_to_float
from vid2vid.segmenter.classes import Classes
from vid2vid.segmenter.network import UNet

HEADER = "vivid_segmenter"  # key of our own description in the header of the file
REMEDY = "train one: python scripts/train_segmenter.py run=RUN out=FILE"
CHUNK = 8  # frames per call of the network


@dataclass(frozen=True)
class SegmenterFacts:
    """What is known of a trained segmenter.

    Attributes:
        ids, names: of its classes.
        widths: of its network.
        resolution: (height, width) of the frames that it was trained on.
        data: what data these were, in words.
        steps: of its training.
        frames: held-out real frames that it was measured on.
        mean_iou, accuracy: on them.
        ious: by class; None of classes that did not occur.
    """

    ids: tuple[int, ...]
    names: tuple[str, ...]
    widths: tuple[int, ...]
    resolution: tuple[int, int]
    data: str
    steps: int
    frames: int
    mean_iou: float
    accuracy: float
    ious: tuple[float | None, ...]


class Segmenter:
    """A network with what it tells apart.

    Args:
        network: in evaluation mode, on its device.
        facts: of it.
        path: where it is from.
    """

    def __init__(self, network: UNet, facts: SegmenterFacts, path: Path) -> None:
        self.network, self.facts, self._path = network, facts, path
        self.classes = Classes(facts.ids, facts.names)

    @property
    def told(self) -> str:
        """Where it is from and how good it is, in words."""
        facts = self.facts
        return (
            f"{self._path}: mIoU {facts.mean_iou:.3f}, pixel accuracy {facts.accuracy:.3f} on {facts.frames} held-out "
            f"real frames of {facts.data} at {facts.resolution[0]}x{facts.resolution[1]}"
        )

    @torch.inference_mode()
    def predict(self, frames: Tensor) -> Tensor:
        """Classes of pixels: (N, 3, H, W) uint8 -> (N, H, W) int64."""
        return torch.cat([self.network(images_to_float(part)).argmax(1) for part in frames.split(CHUNK)])


def save_segmenter(path: Path, network: UNet, facts: SegmenterFacts) -> None:
    """Write a segmenter, whole or not at all."""
    header = {HEADER: json.dumps(asdict(facts))}
    replace_file(path, lambda place: save_weights(place, network.state_dict(), header))


def load_segmenter(path: Path, device: torch.device) -> Segmenter:
    """A segmenter from its file.

    Raises:
        CheckpointError: the file is missing, damaged, or no segmenter's.
    """
    if not path.is_file():
        raise CheckpointError(f"segmenter={path}: no such file; {REMEDY}")
    facts = read_facts(path)
    weights = read_safetensors(path)
    try:
        with torch.device("meta"):  # what a header says takes no memory before the tensors bear it out
            told = UNet(len(facts.ids), facts.widths).state_dict()
    except (ValueError, TypeError, IndexError, OverflowError, RuntimeError) as error:
        raise CheckpointError(f"{path}: there is no network of widths {facts.widths!r:.80}; {REMEDY}") from error
    compare_architecture(told, weights, str(path))
    network = UNet(len(facts.ids), facts.widths)
    network.load_state_dict(weights)
    return Segmenter(network.to(device).eval(), facts, path)


def read_facts(path: Path) -> SegmenterFacts:
    """What the header of a segmenter's file says; CheckpointError where it is none."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            told: dict[str, Any] = plain_json.loads((file.metadata() or {})[HEADER])
        lists: dict[str, Any] = {k: tuple(value) if isinstance(value, list) else value for k, value in told.items()}
        return SegmenterFacts(**lists)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is no segmenter that scripts/train_segmenter.py wrote; {REMEDY}") from error
