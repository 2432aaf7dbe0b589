"""What tells one set of weights from another."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import nn


class Digest(Protocol):
    """One of ``hashlib``'s."""

    def update(self, data: bytes, /) -> None: ...


def add_weights(digest: Digest, network: nn.Module) -> None:
    """Feed names and bytes of all parameters and buffers to a digest, in the order in which the network has them."""
    for name, value in network.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
