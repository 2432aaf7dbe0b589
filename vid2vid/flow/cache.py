"""Reference flow on disk: one .npz per pair of frames, named by a hash of their content and of the settings.

Several workers, processes and runs share a cache. An entry appears whole (written beside, then renamed), so a reader
never sees half of one; two writers of the same entry write the same bytes. A damaged entry is computed again.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from trainer.files import write_arrays
from trainer.untrusted.arrays import DAMAGE, open_npz
from vid2vid.config import DataConfig
from vid2vid.flow import estimate as flows

logger = logging.getLogger(__name__)


class FlowCache:
    """Flow of pairs of frames, kept in a folder.

    Args:
        folder: made at the first write.
        settings: everything beside the frames that the flow depends on (see `flow_settings`).
    """

    def __init__(self, folder: str | Path, settings: str) -> None:
        self.folder = Path(folder)
        self.settings = settings
        self._writable = True

    def path(self, current: str, previous: str) -> Path:
        """Where the flow from one frame to another lies, given the content keys of both."""
        text = "\n".join((self.settings, current, previous))
        name = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
        return self.folder / name[:2] / f"{name}.npz"

    def get(
        self, current: str, previous: str, size: tuple[int, int], compute: Callable[[], tuple[Tensor, Tensor]]
    ) -> tuple[Tensor, Tensor]:
        """The stored flow, or that of `compute`, which is then stored.

        Args:
            current, previous: content keys of the two frames.
            size: (H, W) that the flow must have.
            compute: gives flow float16 (2, H, W) and confidence uint8 (1, H, W).
        Returns:
            What `compute` gives.
        """
        path = self.path(current, previous)
        if path.exists():
            try:
                return _read(path, size)
            except DAMAGE as error:
                logger.warning("%s: damaged entry of the flow cache (%s), computed again", path, error)
        flow, confidence = compute()
        self._write(path, flow, confidence)
        return flow, confidence

    def _write(self, path: Path, flow: Tensor, confidence: Tensor) -> None:
        if not self._writable:
            return
        content = {"flow": flow.numpy(), "confidence": np.packbits(confidence.numpy().astype(bool))}
        try:
            write_arrays(path, content, shared=True)
        except OSError as error:
            self._writable = False
            logger.warning(
                "the flow cache %s cannot be written (%s): flow is computed anew from here on; "
                "set data.flow_cache to another folder",
                self.folder,
                error.strerror or error,
            )


def flow_settings(data: DataConfig, size: tuple[int, int]) -> str:
    """What flow depends on beside the frames: version, method, its weights, and the size it is computed at."""
    parts = [f"v{flows.VERSION}", data.flow.value, f"{size[0]}x{size[1]}"]
    weights = data.flow_weights if data.flow is flows.FlowMethod.raft else None
    if weights is not None:
        file = Path(weights)
        parts.append(f"{weights}:{file.stat().st_size}:{file.stat().st_mtime_ns}" if file.is_file() else weights)
    return "|".join(parts)


def _read(path: Path, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    with open_npz(path) as arrays:
        flow, packed = arrays["flow"], arrays["confidence"]
    if flow.shape != (2, *size) or flow.dtype != np.float16:
        raise ValueError(f"it holds {flow.dtype} {flow.shape}, not float16 {(2, *size)}")
    confidence = np.unpackbits(packed, count=size[0] * size[1]).reshape(1, *size)
    return torch.from_numpy(flow), torch.from_numpy(confidence)
