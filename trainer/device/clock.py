"""Time by the clock, of work that the device has really done."""

from __future__ import annotations

import time

import torch


def synchronize(device: torch.device) -> None:
    """Waits until a CUDA device has done all that it was given; no other one is behind."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class Clock:
    """Seconds between marks, the device's work included.

    Attributes:
        parts: seconds from each mark to the next, the first from the beginning.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.parts: list[float] = []
        self._last = self._now()

    def _now(self) -> float:
        synchronize(self.device)
        return time.perf_counter()

    def mark(self) -> float:
        """Ends a part; its seconds."""
        now = self._now()
        self.parts.append(now - self._last)
        self._last = now
        return self.parts[-1]
