"""Where an interrupted file of predictions goes on when the same command is given again."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.checkpoint.digest import add_weights
from trainer.files import write_text
from trainer.untrusted import plain_json

if TYPE_CHECKING:
    from vit.data.sources.unlabelled import Listed
    from vit.predict.predictor import Predictor


@dataclass
class Interrupted:
    """How far a file has come: ``.NAME.partial`` is what is written of it, ``.NAME.progress`` says for whom.

    Attributes:
        out: the file that it is to become.
        mark: of all that decides the predictions; another one's progress is not gone on with.
        pictures: how many were looked at.
        size: bytes of their rows.
        bad: why some could not be used, by index.
    """

    out: Path
    mark: str
    pictures: int = 0
    size: int = 0
    bad: dict[int, str] = field(default_factory=dict)

    @property
    def partial(self) -> Path:
        return self.out.with_name(f".{self.out.name}.partial")

    @property
    def record(self) -> Path:
        return self.out.with_name(f".{self.out.name}.progress")

    def find(self) -> bool:
        """Takes up what an interrupted command with the same mark has left; whether there was any."""
        try:
            left: Any = plain_json.loads(self.record.read_text(encoding="utf-8"))
            if left["mark"] != self.mark or self.partial.stat().st_size < left["size"]:
                return False
            self.pictures, self.size = int(left["pictures"]), int(left["size"])
            self.bad = {int(index): str(reason) for index, reason in left["bad"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):  # none, or cut off
            return False
        os.truncate(self.partial, self.size)  # rows of a batch that was not finished
        return True

    def note(self, pictures: int, bad: dict[int, str]) -> None:
        """Writes down that the rows of so many pictures are in the file, and flushed."""
        self.pictures, self.size, self.bad = pictures, self.partial.stat().st_size, bad
        state = {"mark": self.mark, "pictures": pictures, "size": self.size, "bad": bad}
        write_text(self.record, json.dumps(state))

    def clear(self) -> None:
        """Leaves nothing behind."""
        self.partial.unlink(missing_ok=True)
        self.record.unlink(missing_ok=True)


def mark_of(predictor: Predictor, listed: Listed, settings: Iterable[Any]) -> str:
    """A checksum of all that decides a file of predictions: weights, preprocessing, classes, pictures, its form.

    Pictures count by name, place, size and time of change.
    """
    found = hashlib.blake2b(digest_size=16)
    add_weights(found, predictor.model)
    told = [predictor.transform.describe(), predictor.mean, predictor.std, predictor.classes, predictor.sigmoid]
    told += [predictor.multilabel, predictor.separator, predictor.span, str(predictor.compute.device), *settings]
    told += [] if predictor.sampling is None else [predictor.sampling]
    found.update(repr(told).encode())
    for name, file in zip(listed.names, listed.files, strict=True):
        try:
            status = file.stat()
            seen = (status.st_size, status.st_mtime_ns)
        except OSError:
            seen = (-1, -1)
        found.update(repr((name, str(file), seen)).encode("utf-8", "surrogateescape"))
    if listed.sheet is not None:
        found.update(repr(listed.sheet).encode("utf-8", "surrogateescape"))
    return found.hexdigest()
