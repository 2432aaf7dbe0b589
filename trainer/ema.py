"""Exponential moving average of all networks' weights (Polyak and Juditsky, 1992), with a ramp at the start."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from trainer.errors import CheckpointError


class EMA:
    """Averages of every parameter, copies of every buffer.

    Args:
        networks: the trained networks by name.
        decay: share of the old average kept per step, in [0, 1); early on it is min(decay, (1 + step) / (10 + step)),
            so that the first weights, which know nothing, are soon forgotten.
    """

    def __init__(self, networks: dict[str, nn.Module], decay: float) -> None:
        self.decay = decay
        self._parameters: dict[str, Tensor] = {}
        self._buffers: dict[str, Tensor] = {}
        for network, module in networks.items():
            self._parameters.update({f"{network}.{name}": p.data for name, p in module.named_parameters()})
            self._buffers.update({f"{network}.{name}": b for name, b in _saved_buffers(module).items()})
        self._networks = networks
        self._average = {name: value.detach().clone() for name, value in self._live().items()}

    def _live(self) -> dict[str, Tensor]:
        """The networks' present tensors by name; looked up anew, since modules may have exchanged them."""
        live: dict[str, Tensor] = {}
        for network, module in self._networks.items():
            live.update({f"{network}.{name}": p for name, p in module.named_parameters()})
            live.update({f"{network}.{name}": b for name, b in _saved_buffers(module).items()})
        return live

    def decay_at(self, step: int) -> float:
        """The decay used after step number ``step`` (from 0)."""
        return min(self.decay, (1 + step) / (10 + step))

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Moves the averages towards the weights as they are after step number ``step``."""
        live = self._live()
        averaged = [name for name in live if name in self._parameters]
        copied = [name for name in live if name in self._buffers]
        torch._foreach_lerp_(
            [self._average[name] for name in averaged],
            [live[name].data for name in averaged],
            1.0 - self.decay_at(step),
        )
        if copied:
            torch._foreach_copy_([self._average[name] for name in copied], [live[name] for name in copied])

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """Inside, the networks hold the averages; afterwards, the very tensors they held before.

        Storage changes hands, nothing is copied, so the weights come back bitwise. Must not be nested.
        """
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def _exchange(self) -> None:
        for name, tensor in self._live().items():
            tensor.data, self._average[name] = self._average[name], tensor.data

    def state_dict(self) -> dict[str, Tensor]:
        """The averages under the networks' canonical names, ``network.parameter``."""
        return dict(self._average)

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Takes over saved averages.

        Raises:
            CheckpointError: names differ from the networks'.
        """
        missing, surplus = sorted(self._average.keys() - state.keys()), sorted(state.keys() - self._average.keys())
        if missing or surplus:
            raise CheckpointError(f"EMA weights do not fit: missing {missing[:5]}, unknown {surplus[:5]}")
        for name, value in state.items():
            self._average[name].copy_(value)


def _saved_buffers(module: nn.Module) -> dict[str, Tensor]:
    """Buffers that belong to the state (non-persistent ones can be computed again and are left alone)."""
    saved = module.state_dict(keep_vars=True).keys()
    return {name: buffer for name, buffer in module.named_buffers() if name in saved}
