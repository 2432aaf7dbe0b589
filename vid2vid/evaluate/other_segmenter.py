"""Segmenters of other people as readers of frames: which of their classes are which label ids of the data."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from trainer.data.labels.label_map import parse_pairs
from trainer.errors import CheckpointError, ConfigError
from trainer.records.confusion import NONE
from trainer.text import few
from vid2vid.prepare.networks import load_segmenter
from vid2vid.segmenter.classes import Classes

KINDS = ("torchvision", "transformers")


class OtherSegmenter:
    """A network of torchvision or transformers, with its classes told in those of the data.

    Args:
        given: ``torchvision:FILE`` or ``transformers:FOLDER``.
        pairs: ``segmenter_classes``: CLASS:ID,..., the network's class by its number, the data's label id; several
            classes may be one id. None: classes that have the same names.
        known: the data's classes.
        device: where to compute.

    Raises:
        ConfigError: no class of the network is one of the data's; pairs that cannot be.
        CheckpointError: the file is missing, or is another network's.
    """

    def __init__(self, given: str, pairs: str | None, known: Classes, device: torch.device) -> None:
        _, _, path = given.partition(":")
        try:
            network = load_segmenter(path, device)
        except (ConfigError, CheckpointError) as error:  # they call it by the key of another command
            problems = error.problems if isinstance(error, ConfigError) else [str(error)]
            here = [problem.replace(f"model={path}", f"segmenter={given}") for problem in problems]
            raise (ConfigError(here) if isinstance(error, ConfigError) else CheckpointError(here[0])) from error
        self._network, self._given = network, given
        table = _by_name(network.names, known) if pairs is None else _by_pairs(pairs, len(network.names), known)
        reached = [label for label in known.ids if label in table.values()]
        if not reached:
            theirs, ours = _numbered(range(len(network.names)), network.names), _numbered(known.ids, known.names)
            raise ConfigError(
                f"segmenter={given}: none of its classes ({theirs}) has the name of a class of the data ({ours}): say "
                "which is which, segmenter_classes=CLASS:ID,... (numbers of its classes, label ids of the data)"
            )
        # Ids that the network does not know are no class here: their pixels count nowhere.
        names = dict(zip(known.ids, known.names, strict=True))
        self.classes = Classes(tuple(reached), tuple(names[label] for label in reached))
        self._table = torch.full((len(network.names),), NONE)
        for index, label in table.items():
            if label in reached:
                self._table[index] = reached.index(label)
        self._left_out = [name for label, name in names.items() if label not in reached]

    @property
    def told(self) -> str:
        """Where it is from and what it tells apart, in words."""
        out = f", not {few(self._left_out, 6)}" if self._left_out else ""
        return f"{self._given}, which tells {len(self.classes)} of the data's classes apart{out}"

    def predict(self, frames: Tensor) -> Tensor:
        """(N, 3, H, W) uint8 -> (N, H, W) int64 classes, NONE for what is none of the data's."""
        pixels = frames.permute(0, 2, 3, 1).cpu().numpy()
        return self._table[torch.stack([self._network.ids(frame) for frame in pixels])].to(frames.device)


def _by_name(names: tuple[str, ...], known: Classes) -> dict[int, int]:
    """Number of a class -> label id, where a name of the network (it may list several) is a name of the data."""
    ids = {name.lower(): label for label, name in zip(known.ids, known.names, strict=True)}
    found = {}
    for index, name in enumerate(names):
        words = [word.strip().lower() for word in name.split(",")]
        match = next((ids[word] for word in words if word in ids), None)
        if match is not None:
            found[index] = match
    return found


def _by_pairs(pairs: str, count: int, known: Classes) -> dict[int, int]:
    table = parse_pairs(pairs, "segmenter_classes")
    wrong = [index for index in table if not 0 <= index < count]
    if wrong:
        raise ConfigError(f"segmenter_classes={pairs}: {few(wrong)}: the network's classes are 0..{count - 1}")
    absent = sorted(set(table.values()) - set(known.ids))
    if absent:
        raise ConfigError(
            f"segmenter_classes={pairs}: {few(absent)}: no class of the data ({_numbered(known.ids, known.names)}); "
            "leave out classes of the network that are none of these"
        )
    return table


def _numbered(ids: Iterable[int], names: Iterable[str]) -> str:
    return few([f"{index} {name}" for index, name in zip(ids, names, strict=True)], 8)
