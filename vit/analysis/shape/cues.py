"""Which shape and which texture a picture has: told by its file's name, or by the built-in shapes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from trainer.errors import DataError
from trainer.text import ends
from vit.analysis.passes import Pictures


class Cues:
    """Tells both classes of pictures.

    Args:
        classes: names of the data's classes, which shapes and textures share by their numbers.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = list(classes)
        self._place = {name.lower(): number for number, name in enumerate(classes)}
        either = "|".join(re.escape(name) for name in sorted(self._place, key=len, reverse=True))
        self._pattern = re.compile(rf"({either})\d*-({either})\d*")

    def of(self, pictures: Pictures) -> tuple[Tensor, Tensor]:
        """(shape, texture) of each picture, (B,) int64, on the pictures' device.

        Raises:
            DataError: a file's name tells them not, or another shape than its folder.
        """
        if "texture" in pictures.facts:
            return pictures.facts["shape"], pictures.facts["texture"]
        names = pictures.facts["name"]
        found = torch.tensor([self._named(str(name)) for name in names]).to(pictures.label.device)
        for name, told, label in zip(names, found[:, 0].tolist(), pictures.label.tolist(), strict=True):
            if told != label:
                raise DataError(
                    f"{name}: its name says that its shape is {self.classes[told]}, its folder {self.classes[label]}: "
                    "put it into the folder of its shape"
                )
        return found[:, 0], found[:, 1]

    def _named(self, name: str) -> tuple[int, int]:
        match = self._pattern.fullmatch(Path(name).stem.lower())
        if match is None:
            raise DataError(
                f"{name}: its name does not tell shape and texture. Pictures whose cues conflict are called "
                f"SHAPE-TEXTURE, with or without numbers, in the folder of their shape: "
                f"{self.classes[0]}/{self.classes[0]}3-{self.classes[-1]}2.png. Classes are {ends(self.classes, 16)}"
            )
        return self._place[match[1]], self._place[match[2]]
