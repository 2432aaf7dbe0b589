"""Evaluation on classes that are not quite the model's: ImageNet-A, -R, -V2, -Sketch, and ImageNet ReaL.

`data.class_map` is a file of one of two kinds.

A mapping, model class to data class, each by index or by name (for ImageNet its WordNet id is name enough): JSON
``{"n01498041": "n01498041", "6": 0}`` or text, two words a line, ``#`` begins a comment. Model classes that it does not
name are left out of the comparison: the prediction is made among the others (what the authors of ImageNet-A and -R
do). Several model classes may stand for one data class. A JSON list or one-word lines ``n01498041`` map classes that
are called the same on both sides.

A list of label lists (ImageNet ReaL's ``real.json``), one per validation picture in order of their numbers
(ILSVRC2012_val_00000001 first): a prediction is right when it is in the list, and pictures with empty lists count
nowhere (Beyer et al., 2020, arXiv:2006.07159).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from trainer.data.remote.path import place
from trainer.errors import DataError
from trainer.untrusted import plain_json
from vit.config import VitConfig
from vit.data.sources.text import read_text


@dataclass(frozen=True)
class ClassMap:
    """Which data class each model class stands for.

    Attributes:
        target: int64 (K of the model,): data class, or -1 where the model's class has none.
        classes: number of data classes.
    """

    target: Tensor
    classes: int

    def scores(self, logits: Tensor) -> Tensor:
        """Scores of the data's classes, (B, classes), from the model's, (B, K): of each its best model class.

        A data class that no model class stands for gets -inf.
        """
        # Model classes without a data class share one more column, which is dropped: so nothing waits for a device.
        index = torch.where(self.target >= 0, self.target, self.classes).to(logits.device, non_blocking=True)
        lowest = logits.new_full((len(logits), self.classes + 1), float("-inf"))
        return lowest.scatter_reduce(1, index.expand(len(logits), -1), logits, "amax")[:, : self.classes]


@dataclass(frozen=True)
class MeanClassMap(ClassMap):
    """As ``ClassMap``, but a data class has the mean probability of its model classes, not that of the best of them.

    Geirhos et al., "ImageNet-trained CNNs are biased towards texture", 2019: so the 16 entry classes of which one has
    109 classes of ImageNet (dogs) and another one (knives) are chosen between.
    """

    def scores(self, logits: Tensor) -> Tensor:
        """Logarithms of the mean probabilities, (B, classes), of softmax over all K classes of the model."""
        logs = logits.float().log_softmax(dim=1)
        found = logs.new_full((len(logs), self.classes), float("-inf"))
        for index in range(self.classes):
            members = (self.target == index).nonzero()[:, 0]
            if len(members):
                found[:, index] = logs[:, members.to(logs.device)].logsumexp(dim=1) - math.log(len(members))
        return found


@dataclass(frozen=True)
class LabelLists:
    """Several right answers per picture, or none.

    Attributes:
        lists: classes of the model that are right, by picture number - 1.
    """

    lists: list[list[int]]

    def targets(self, names: Sequence[str], classes: int) -> Tensor:
        """Right answers for pictures by their names, bool (B, classes). Rows without any True do not count.

        Raises:
            DataError: a name without a number, or with one beyond the lists.
        """
        right = torch.zeros(len(names), classes, dtype=torch.bool)
        for row, name in enumerate(names):
            digits = re.findall(r"\d+", Path(name).stem)
            number = int(digits[-1]) if digits else 0
            if not 1 <= number <= len(self.lists):
                raise DataError(
                    f"{name}: its name ends with no number from 1 to {len(self.lists)}, by which data.class_map finds "
                    "its labels; ImageNet's validation files are called ILSVRC2012_val_00000001.JPEG and so on"
                )
            right[row, self.lists[number - 1]] = True
        return right


def class_map(
    config: VitConfig, data_classes: Sequence[str], model_classes: Sequence[str] | int
) -> ClassMap | LabelLists | None:
    """What `data.class_map` says; None where it is not given.

    Args:
        data_classes: `DataInfo.classes`.
        model_classes: the model's, or how many it has where they have no names.

    Raises:
        DataError: the file cannot be read or names unknown classes.
    """
    if config.data.class_map is None:
        return None
    path = place(config.data.class_map)
    names = [str(i) for i in range(model_classes)] if isinstance(model_classes, int) else list(model_classes)
    text, _ = read_text(path, f"data.class_map={path}")
    content = _parse(text, path)
    if isinstance(content, list) and content and all(isinstance(row, list) for row in content):
        return _label_lists(cast(list[list[int]], content), len(names), path)
    pairs = content.items() if isinstance(content, dict) else ((name, name) for name in content)
    ours, theirs = _Lookup(names), _Lookup(data_classes)
    target = torch.full((len(names),), -1, dtype=torch.int64)
    for model_class, data_class in pairs:
        index = ours.find(model_class, f"{path}: '{model_class}' is no class of the model")
        target[index] = theirs.find(data_class, f"{path}: '{data_class}' (for '{model_class}') is no class of the data")
    if not bool((target >= 0).any()):
        raise DataError(f"data.class_map={path}: the file names no class")
    return ClassMap(target, len(data_classes))


def _parse(text: str, path: Path) -> dict[str, object] | list[object]:
    if path.suffix.lower() == ".json" or text.lstrip().startswith(("{", "[")):
        try:
            content = plain_json.loads(text)
        except ValueError as error:
            raise DataError(f"data.class_map={path}: not valid JSON ({error})") from error
        if not isinstance(content, dict | list):
            raise DataError(f"data.class_map={path}: must be an object {{model class: data class}} or a list")
        return content
    rows = [line.split("#")[0].replace(",", " ").split() for line in text.splitlines()]
    rows = [row for row in rows if row]
    if rows and all(len(row) == 1 for row in rows):
        return [row[0] for row in rows]
    for number, row in enumerate(rows, 1):
        if len(row) != 2:
            raise DataError(f"data.class_map={path}, entry {number}: two words are needed, model class and data class")
    return {row[0]: row[1] for row in rows}


class _Lookup:
    """Classes by name, by the first word of their name, or by index; a name goes before an index.

    What several classes are called, or begin with, means none of them.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        whole = set(names)
        self._index: dict[str, list[int]] = {}
        for number, name in enumerate(names):
            self._index.setdefault(name, []).append(number)
        for number, name in enumerate(names):
            word = next(iter(name.split()), name)
            if word not in whole:
                self._index.setdefault(word, []).append(number)

    def find(self, key: object, problem: str) -> int:
        """The index that ``key`` means, or DataError."""
        if isinstance(key, str) and key in self._index:
            found = self._index[key]
            if len(found) > 1:
                meant = ", ".join(f"{number} {self.names[number]}" for number in found[:4])
                raise DataError(f"{problem} alone: {len(found)} are called so ({meant}). Give whole names or indices")
            return found[0]
        if isinstance(key, int | str) and re.fullmatch(r"\d+", str(key)) and int(key) < len(self.names):
            return int(key)
        known = ", ".join(list(self._index)[:4])
        raise DataError(f"{problem}: neither a name ({known}, ...) nor an index from 0 to {len(self.names) - 1}")


def _label_lists(content: list[list[int]], classes: int, path: Path) -> LabelLists:
    for number, row in enumerate(content, 1):
        if not all(isinstance(label, int) and 0 <= label < classes for label in row):
            raise DataError(f"data.class_map={path}, list {number}: {row} holds other than classes 0..{classes - 1}")
    return LabelLists(content)
