"""Which label ids may occur, and what to do about those that may not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from trainer.data.labels.label_map import ignored_ids
from trainer.errors import DataError
from trainer.text import few

_SHOWN = 8  # ids named in a message
_CLASSES = 40  # unknown ids in one file from which on they are no classes
_WHITE = (128, 254, 255)  # of masks whose black is 0
_GREYS = {70: "building", 153: "pole"}  # of Cityscapes' colours


def mask_remedy(ids: set[int], foreground: bool = True) -> str:
    """What to do about masks of 0 and 255, which are two classes though 255 usually stands for none; empty for others.

    Args:
        ids: all that occur.
        foreground: the model has a foreground network, which wants a class of its own.
    """
    white = max(ids, default=0)
    if ids != {0, white} or white not in _WHITE:
        return ""
    found = f"data.label_map={white}:1 model.label_ids=[0,1]" + (" model.foreground_labels=[1]" if foreground else "")
    return f"The labels are 0 and {white} only, a mask: for two classes set {found}."


@dataclass(frozen=True)
class LabelRange:
    """Which label ids may occur.

    Attributes:
        num_labels: ids 0..num_labels-1 may, unless `label_ids` lists them one by one.
        label_ids: the ids that have a channel (`model.label_ids`), or None.
        ignore: the id or ids that stand for no class (`data.ignore_label`), or None.
    """

    num_labels: int
    label_ids: tuple[int, ...] | None = None
    ignore: int | Sequence[int] | None = None

    @property
    def ignored(self) -> tuple[int, ...]:
        return ignored_ids(self.ignore)

    def unknown(self, ids: Tensor) -> list[int]:
        """The ids of a map that may not occur, ascending."""
        if self.label_ids is None:
            outside = ids[(ids >= self.num_labels) | (ids < 0)]
            if outside.numel() == 0:
                return []
        else:
            outside = ids
        return sorted(set(outside.unique().tolist()) - set(self.label_ids or ()) - set(self.ignored))

    def check(self, ids: Tensor, path: Path) -> None:
        """Raise DataError, naming the file and the ids, when there are ids that may not occur."""
        unknown = self.unknown(ids)
        if not unknown:
            return
        shown = few(unknown, _SHOWN)
        if self.label_ids is None:
            allowed = f"model.num_labels={self.num_labels} allows 0..{self.num_labels - 1}"
        else:
            allowed = f"model.label_ids allows {', '.join(map(str, self.label_ids))}"
        passed = self.ignored
        word = "id" if len(passed) == 1 else "ids"
        ignored = f" and the ignored {word} {', '.join(map(str, passed))}" if passed else ""
        word = "id" if len(unknown) == 1 else "ids"
        remedy = mask_remedy(set(ids.unique().tolist())) or self.remedy(unknown)
        raise DataError(f"{path}: label {word} {shown} out of range: {allowed}{ignored}. {remedy}")

    def remedy(self, unknown: list[int]) -> str:
        """What to do about ids that may not occur."""
        largest = unknown[-1]
        if len(unknown) > _CLASSES and min(unknown) < 1000 <= largest:
            return (
                "So many values are measurements, such as depth, and no ids: to learn from them as pictures, set "
                "data.labels=rgb model.source=image model.source_channels=1 model.foreground=off."
            )
        if largest >= 1000:
            return "These look like instance ids (class * 1000 + number): put such maps under data.instances_dir."
        if self.label_ids is None and self.num_labels in (19, 20) and largest <= 33:
            return (
                "These look like Cityscapes labelIds (0..33) where trainIds (0..18) are expected: "
                "set model.num_labels=35, or convert the maps to trainIds."
            )
        if unknown == [255]:
            return "255 usually marks pixels without a class: set data.ignore_label=255."
        greys = [label for label in unknown if label]
        if greys and set(greys) <= set(_GREYS):
            return (
                f"{' and '.join(f'{label} ({_GREYS[label]})' for label in greys)} are grey colours of Cityscapes: "
                "these look like label colours, not ids. Set data.label_format=colors:cityscapes, or colors:FILE with "
                "a table of yours."
            )
        if self.label_ids is not None:
            return f"Add them to model.label_ids, or set model.label_ids=null for all of 0..{self.num_labels - 1}."
        return f"Set model.num_labels={largest + 1}, or data.ignore_label to the id that stands for no class."
