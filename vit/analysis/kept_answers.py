"""What a classifier said of every picture, under every condition; kept in a file, so that nothing is computed twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainer.errors import UserError
from trainer.files import write_arrays
from trainer.records.intervals import wilson
from trainer.untrusted import plain_json
from trainer.untrusted.arrays import DAMAGE, open_npz

MISSING, UNREADABLE = -2, -1


@dataclass
class Answers:
    """What one subject said under one condition, picture by picture; pictures in the order of the pass.

    Attributes:
        predicted: (N,) int32: class of the data; -1: not to be judged (unreadable), -2: not computed.
        right: (N,) int8: whether that is the truth, or one of the truths.
        extra: (N,) float32 by name.
    """

    predicted: np.ndarray
    right: np.ndarray
    extra: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def accuracy(self) -> float:
        """Share of the pictures that are judged, 0..1."""
        return float(self.right[self.predicted >= 0].mean())

    @property
    def ends(self) -> tuple[float, float]:
        """Both ends of its 95 % interval (Wilson)."""
        return wilson(int(self.right[self.predicted >= 0].sum()), self.judged)

    @property
    def judged(self) -> int:
        """How many pictures are."""
        return int((self.predicted >= 0).sum())

    def mean(self, name: str) -> float:
        """Of an extra figure, over the pictures that are judged."""
        return float(self.extra[name][self.predicted >= 0].mean(dtype=np.float64))


class Store:
    """Answers of one subject in a file; those to other weights, data or settings lie in files of their own beside it.

    Args:
        folder: where the files are.
        name: of the file: the experiment's and the subject's.
        identity: all that answers depend on besides the condition: weights, data, seed, settings.
        count: pictures.

    Raises:
        UserError: the file cannot be read.
    """

    def __init__(self, folder: Path, name: str, identity: str, count: int) -> None:
        digest = hashlib.sha256(identity.encode()).hexdigest()[:12]
        self.path, self.identity, self.count = folder / f"{name}-{digest}.npz", identity, count
        self.answers: dict[str, Answers] = {}
        self._changed = False
        if self.path.is_file():
            self._read()

    def open(self, key: str) -> Answers:
        """Answers under a condition, to be filled in."""
        if key not in self.answers:
            self.answers[key] = Answers(np.full(self.count, MISSING, np.int32), np.zeros(self.count, np.int8))
        if (self.answers[key].predicted == MISSING).any():
            self._changed = True
        return self.answers[key]

    def save(self) -> None:
        """Write them, where any can have changed."""
        if not self._changed:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        names = list(self.answers)
        arrays: dict[str, Any] = {"about": np.array(json.dumps({"identity": self.identity, "conditions": names}))}
        for number, name in enumerate(names):
            kept = self.answers[name]
            arrays |= {f"{number}/predicted": kept.predicted, f"{number}/right": kept.right}
            arrays |= {f"{number}/extra/{key}": values for key, values in kept.extra.items()}
        write_arrays(self.path, arrays, compressed=True)

    def _read(self) -> None:
        try:
            with open_npz(self.path) as file:
                about = plain_json.loads(str(file["about"]))
                if about["identity"] != self.identity:
                    raise ValueError("it holds answers to other settings than its name says")
                for number, name in enumerate(about["conditions"]):
                    start = f"{number}/extra/"
                    extra = {key.removeprefix(start): file[key] for key in file.files if key.startswith(start)}
                    self.answers[name] = Answers(file[f"{number}/predicted"], file[f"{number}/right"], extra)
        except DAMAGE as error:
            raise UserError(f"{self.path}: cannot be read ({error}); delete it, and it is computed anew") from error


class Pending:
    """Answers to a batch that are on the device still: the host waits once for all, not under every condition."""

    def __init__(self) -> None:
        self._rows: list[Tensor] = []
        self._whose: list[tuple[Answers, slice, tuple[str, ...], str]] = []

    def add(
        self,
        answers: Answers,
        places: slice,
        predicted: Tensor,
        right: Tensor,
        numbers: Tensor,
        extra: Mapping[str, Tensor],
        complaint: str,
    ) -> None:
        """Some of the answers under a condition; all tensors are (B,), on one device, until the next ``keep``.

        Args:
            answers, places: where they belong.
            predicted: class, or ``UNREADABLE``.
            right: whether it is.
            numbers: whether the network's answer was any.
            extra: further figures by name, exact as float32.
            complaint: the error where it was none.
        """
        self._rows += [row.float() for row in (predicted, right, numbers, *extra.values())]
        self._whose.append((answers, places, tuple(extra), complaint))

    def keep(self) -> None:
        """Copy them to where they belong.

        Raises:
            UserError: answers were no numbers. Those before are kept.
        """
        if not self._rows:
            return
        rows = iter(torch.stack(self._rows).cpu().numpy())
        whose, self._rows, self._whose = self._whose, [], []
        for answers, places, names, complaint in whose:
            predicted, right, numbers = next(rows), next(rows), next(rows)
            extra = {name: next(rows) for name in names}
            if not numbers.all():
                raise UserError(complaint)
            answers.predicted[places] = predicted
            answers.right[places] = right
            for name, values in extra.items():
                answers.extra.setdefault(name, np.zeros(len(answers.predicted), np.float32))[places] = values
