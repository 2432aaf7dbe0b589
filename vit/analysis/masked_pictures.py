"""Pictures with a mask of classes for each pixel, as a classifier under study is shown them."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from trainer.errors import ConfigError
from vit.analysis.subjects import Subject
from vit.data.kinds import DataKind
from vit.data.shapes.source import open_shapes
from vit.data.transforms import resize


class Masked(Protocol):
    """A list of pictures with masks.

    Attributes:
        identity: which they are, and in which order.
    """

    identity: str

    def __len__(self) -> int: ...

    def sample(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """``image`` uint8 (C, Y, X) and ``mask`` int16 (Y, X), whose NONE is void."""
        ...

    def name(self, index: int) -> str: ...


class MaskedShapes:
    """The built-in shapes and their outlines: class 1 on background 0."""

    def __init__(self, subject: Subject, split: str) -> None:
        self._source = open_shapes(subject.loaded.config, split, subject.size)
        self.identity = f"{subject.loaded.config.data}"

    def __len__(self) -> int:
        return len(self._source)

    def sample(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        return {"image": self._source.read(index)[0], "mask": self._source.cover(index).to(torch.int16)}

    def name(self, index: int) -> str:
        return f"{self._source.name(index)} {self._source.classes[int(self._source.labels()[index])]}"


def masked_pictures(subject: Subject, root: str | None, split: str) -> Masked:
    """The pictures with masks below a folder; without one those of the data, which must be the shapes.

    Raises:
        ConfigError: data without masks. DataError: pictures and masks that cannot be used.
    """
    if root is None and subject.loaded.config.data.kind is not DataKind.shapes:
        raise ConfigError(
            f"data={subject.loaded.config.data.kind.value} has no masks: give masks=PATH, a folder in VOC's layout or "
            "with images/ and masks/; or data=shapes, whose outlines are known"
        )
    return MaskedShapes(subject, split)


def squashed(image: Tensor, mask: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """A picture (C, y, x) uint8 and its mask (y, x), both resized whole to ``size``: smoothly, and to the nearest."""
    picture = torch.from_numpy(resize(image.permute(1, 2, 0).numpy(), size, cubic=False)).permute(2, 0, 1)
    nearest = F.interpolate(mask[None, None].float(), size, mode="nearest-exact")[0, 0]
    return picture.contiguous(), nearest.to(torch.int16)
