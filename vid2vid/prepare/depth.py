"""`prepare.py depth`: the depth of every pixel, by a network of other people, as PNGs of 16 bits in one range.

Networks give depth in metres, or its inverse in no unit; either way one film needs one range, else brightness would
flicker. It is what some frames spread over all footage have, with a margin, and is kept in `depth/range.json`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trainer.config.short_forms import shown_override
from trainer.data.checking import spread
from trainer.errors import DataError
from trainer.files import write_json
from trainer.untrusted import plain_json
from vid2vid.prepare.contact_sheet import write_contact_sheet
from vid2vid.prepare.extractor import Extractor, Prepared, Say, Tool, Write
from vid2vid.prepare.networks import load_depth
from vid2vid.prepare.shots import Shot

DEPTH = "depth"
_MEASURED = 16  # frames whose depth gives the range
_MARGIN = 0.1  # of the range, on either side: values beyond become its ends
_WHITE = (1 << 16) - 1


class Depth(Extractor):
    """Tells how far away every pixel is.

    Args:
        model: a folder of transformers'.
        device: computes.
    Raises:
        ConfigError, CheckpointError: it cannot be used.
    """

    name = DEPTH
    pictures = (DEPTH,)

    def __init__(self, model: str | None, device: torch.device) -> None:
        self._depth = load_depth(model, device)
        self._range = (0.0, 1.0)
        self.settings: Mapping[str, Any] = {"model": str(Path(model or "").resolve())}

    def begin(self, out: Path, shots: Sequence[Shot], height: int | None) -> None:
        path = out / DEPTH / "range.json"
        if path.is_file():
            stored = plain_json.loads(path.read_text(encoding="utf-8"))
            self._range = (float(stored["black"]), float(stored["white"]))
            return
        places = [(shot, index) for shot in shots for index in spread(len(shot), _MEASURED)]
        lows, highs = [], []
        for shot, index in (places[i] for i in spread(len(places), _MEASURED)):
            for _, pixels in shot.frames(index, index + 1, height):
                found = self._depth(pixels)
                lows.append(float(found.min()))
                highs.append(float(found.max()))
        if not np.isfinite([*lows, *highs]).all() or max(highs) <= min(lows):
            raise DataError(
                f"model={self.settings['model']}: gives {min(lows)} to {max(highs)} as depth of these frames, which "
                "tells nothing apart. Give another model="
            )
        margin = _MARGIN * (max(highs) - min(lows))
        self._range = (min(lows) - margin, max(highs) + margin)
        write_json(path, {"black": self._range[0], "white": self._range[1]})

    def tool(self) -> Tool:
        return _DepthTool(self)

    def finish(self, prepared: Prepared, say: Say) -> None:
        say(f"depth of {self._range[0]:.4g} to {self._range[1]:.4g} as 16 bits (depth/range.json)")
        say(f"contact sheet: {write_contact_sheet(prepared)}")
        say(f"train: python train.py model=vid2vid data=depth {shown_override('data.root', prepared.out)}")

    def picture(self, pixels: np.ndarray) -> np.ndarray:
        """uint16 (h, w): the depth of a frame, 0 at the lower end of the range and 65535 at the upper."""
        black, white = self._range
        share = (self._depth(pixels).double().numpy() - black) / (white - black)
        return np.rint(share.clip(0, 1) * _WHITE).astype(np.uint16)


class _DepthTool:
    def __init__(self, depth: Depth) -> None:
        self._depth = depth

    def take(self, frames: Iterable[tuple[str, np.ndarray]], write: Write) -> Mapping[str, np.ndarray]:
        for key, pixels in frames:
            write(DEPTH, key, self._depth.picture(pixels))
        return {}

    def close(self) -> None:
        pass
