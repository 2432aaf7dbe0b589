"""Exponential moving average of all networks' weights (Polyak and Juditsky, 1992), with a ramp at the start."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from trainer.errors import CheckpointError
from trainer.optim import foreach


class EMA:
    """Averages of every parameter, copies of every buffer.

    Args:
        networks: the trained networks by name.
        decay: share of the old average kept per step, in [0, 1); early on it is min(decay, (1 + step) / (10 + step)),
            so that the first weights, which know nothing, are soon forgotten.
        rows: where networks are sharded, what this process keeps of every parameter, by full name.
        refresh: makes the networks follow their rows.

    Attributes:
        half_life: steps after which half of an average is new, as a schedule sets it, in place of ``decay`` and its
            start; 0: the averages are the weights. None: no schedule does.
    """

    def __init__(
        self,
        networks: dict[str, nn.Module],
        decay: float,
        rows: Mapping[str, nn.Parameter] | None = None,
        refresh: Callable[[], None] | None = None,
    ) -> None:
        self.decay = decay
        self.half_life: float | None = None
        self._refresh = refresh  # None: parameters are the networks' own
        self._parameters: dict[str, nn.Parameter] = {}
        self._owners: dict[str, tuple[nn.Module, str]] = {}  # modules may put another tensor in a buffer's place
        for network, module in networks.items():
            saved = module.state_dict(keep_vars=True)  # leaves non-persistent buffers out
            self._parameters |= {f"{network}.{name}": p for name, p in module.named_parameters()}
            for prefix, owner in module.named_modules():
                for name in owner._buffers:
                    full = f"{prefix}.{name}" if prefix else name
                    if full in saved:
                        self._owners[f"{network}.{full}"] = (owner, name)
        self._parameters = self._parameters if rows is None else dict(rows)
        live = self._parameters | self._buffers()
        self._average = {name: value.detach().clone() for name, value in live.items()}

    def _buffers(self) -> dict[str, Tensor]:
        return {name: owner.get_buffer(local) for name, (owner, local) in self._owners.items()}

    def decay_at(self, step: int) -> float:
        """The decay used after step number ``step`` (from 0)."""
        if self.half_life is not None:
            return 0.5 ** (1.0 / self.half_life) if self.half_life > 0 else 0.0
        return min(self.decay, (1 + step) / (10 + step))

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Moves the averages towards the weights as they are after step number ``step``."""
        averages = [self._average[name] for name in self._parameters]
        foreach.lerp_(averages, [p.data for p in self._parameters.values()], 1.0 - self.decay_at(step))
        self.copy_buffers()

    @torch.no_grad()
    def copy_buffers(self) -> None:
        """Takes the networks' buffers over as they are."""
        buffers = self._buffers()
        if buffers:
            foreach.copy_([self._average[name] for name in buffers], list(buffers.values()))

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """Inside, the networks hold the averages; afterwards, the very tensors they held before.

        Storage changes hands, nothing is copied, so the weights come back bitwise; of shards, to whose storage others
        refer, the values do. Must not be nested.
        """
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        by_value = {} if self._refresh is None else self._parameters
        for name, tensor in (self._parameters | self._buffers()).items():
            if name in by_value:
                kept = tensor.detach().clone()
                tensor.copy_(self._average[name])
                self._average[name].copy_(kept)
            else:
                tensor.data, self._average[name] = self._average[name], tensor.data
        if self._refresh is not None:
            self._refresh()

    def state_dict(self) -> dict[str, Tensor]:
        """The averages under the networks' canonical names, ``network.parameter``."""
        return dict(self._average)

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Takes over saved averages.

        Raises:
            CheckpointError: names differ from the networks'.
        """
        missing, surplus = (
            sorted(self._average.keys() - state.keys()),
            sorted(state.keys() - self._average.keys()),
        )
        if missing or surplus:
            raise CheckpointError(f"EMA weights do not fit: missing {missing[:5]}, unknown {surplus[:5]}")
        for name, value in state.items():
            self._average[name].copy_(value)
