"""What shares a draw: every picture has its own mask or order, or all of a batch one."""

from __future__ import annotations

from enum import Enum

import torch
from torch import Tensor

from vit.analysis.passes import Pictures


class Scope(Enum):
    """``image``: chance is a function of the picture. ``batch``: of the batch, as in the released code of the paper."""

    image = "image"
    batch = "batch"


def drawn_for(scope: Scope, pictures: Pictures) -> Tensor:
    """(B,) int64 for ``vit.analysis.chance``: pictures with the same number get the same draw."""
    if scope is Scope.image:
        return pictures.index
    return torch.full_like(pictures.index, pictures.number)


def told(scope: Scope, batch: int) -> dict[str, str | int]:
    """Of a condition: the scope, and the pictures at a time where draws depend on them."""
    return {"scope": scope.value} | ({"batch": batch} if scope is Scope.batch else {})
