"""Bytes of the tensors that are alive at a time: exact where a process's resident memory is not."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveTensors(TorchDispatchMode):
    """Counts what is made within.

    Args:
        spared: tensors that were there before and do not count.

    Attributes:
        peak: most bytes at a time.
    """

    def __init__(self, spared: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self._spared = list(spared)  # kept, so that no new storage takes the place of one of these
        self._known = {x.untyped_storage()._cdata for x in self._spared}
        self._now = self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                self._add(tensor.untyped_storage())
        return out

    def _add(self, storage: Any) -> None:
        if storage._cdata in self._known:
            return
        self._known.add(storage._cdata)
        self._now += storage.nbytes()
        self.peak = max(self.peak, self._now)
        weakref.finalize(storage, self._remove, storage._cdata, storage.nbytes())

    def _remove(self, key: int, size: int) -> None:
        self._known.discard(key)
        self._now -= size
