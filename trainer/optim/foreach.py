"""torch's multi-tensor operations: one kernel for a whole list.

Their names begin with an underscore, but they are what torch's own optimisers and gradient clipping are made of. They
are collected here so that the rest of the trainer does not depend on where they live.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_PIECE = 4096  # numbers that a CPU's kernel may sum in fp32 before their rounding adds up

add_ = torch._foreach_add_  # pyright: ignore[reportPrivateImportUsage]
addcmul_ = torch._foreach_addcmul_  # pyright: ignore[reportPrivateImportUsage]
chunk_cat = torch._chunk_cat  # pyright: ignore[reportPrivateImportUsage]
copy_ = torch._foreach_copy_  # pyright: ignore[reportPrivateImportUsage]
div = torch._foreach_div  # pyright: ignore[reportPrivateImportUsage]
div_ = torch._foreach_div_  # pyright: ignore[reportPrivateImportUsage]
lerp_ = torch._foreach_lerp_  # pyright: ignore[reportPrivateImportUsage]
mul = torch._foreach_mul  # pyright: ignore[reportPrivateImportUsage]
mul_ = torch._foreach_mul_  # pyright: ignore[reportPrivateImportUsage]
sqrt = torch._foreach_sqrt  # pyright: ignore[reportPrivateImportUsage]
sub_ = torch._foreach_sub_  # pyright: ignore[reportPrivateImportUsage]


def norm(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The Euclidean norm of each, a number on its device.

    On a CPU torch sums the squares one after the other: of 5 million numbers in fp32 the norm is short by 1e-4, and
    what a shard has of them by less, so that clipping would depend on the number of processes. There in pieces.
    """
    if any(tensor.device.type != "cpu" for tensor in tensors):
        return list(torch._foreach_norm(list(tensors)))  # pyright: ignore[reportPrivateImportUsage]
    return [_in_pieces(tensor) for tensor in tensors]


def _in_pieces(tensor: Tensor) -> Tensor:
    flat = tensor.reshape(-1)
    whole = flat.numel() // _PIECE * _PIECE
    if whole:
        pieces = torch.linalg.vector_norm(flat[:whole].view(-1, _PIECE), dim=-1)
        flat = torch.cat([pieces, flat[whole:]])
    return torch.linalg.vector_norm(flat)
