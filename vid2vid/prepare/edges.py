"""`prepare.py edges`: Canny edges of each frame as pictures, for who wants to see or change them.

Training on edges needs none of these: it makes them of the frames as it goes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch

from trainer.config.short_forms import shown_override
from vid2vid.config import DataConfig
from vid2vid.data.sources.pictures import canny
from vid2vid.prepare.contact_sheet import write_contact_sheet
from vid2vid.prepare.extractor import Extractor, Prepared, Say, Tool, Write

EDGES = "edges"


class Edges(Extractor):
    """Draws the edges of each frame.

    Args:
        data: its thresholds `edge_low`, `edge_high`.
    """

    name = EDGES
    pictures = (EDGES,)

    def __init__(self, data: DataConfig) -> None:
        self.settings: Mapping[str, Any] = {"data.edge_low": data.edge_low, "data.edge_high": data.edge_high}

    def tool(self) -> Tool:
        return _Canny(*self.settings.values())

    def finish(self, prepared: Prepared, say: Say) -> None:
        say(f"contact sheet: {write_contact_sheet(prepared)}")
        sources = shown_override("data.sources", f"[image:{EDGES}]")
        root = shown_override("data.root", prepared.out)
        say(f"train: python train.py model=vid2vid data=sketch {root} {sources}")
        say("without data.sources these files are not read: it draws the same edges of the frames as it goes")


class _Canny:
    def __init__(self, low: int, high: int) -> None:
        self._low, self._high = low, high

    def take(self, frames: Iterable[tuple[str, np.ndarray]], write: Write) -> Mapping[str, np.ndarray]:
        for key, pixels in frames:
            image = torch.from_numpy(pixels).permute(2, 0, 1)
            write(EDGES, key, canny(image, self._low, self._high)[0].numpy())
        return {}

    def close(self) -> None:
        pass
