"""`prepare.py labels`: a class for every pixel, by a network of other people: PNGs of ids with a palette, and a table.

The table `classes.json` beside the folder has id, name and colour of every class, in the form that
`data.label_format=colors:FILE` reads; training itself needs the ids alone.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from trainer.config.short_forms import shown_override
from trainer.data.labels.colour_tables import voc_colour
from trainer.files import write_json
from vid2vid.prepare.contact_sheet import write_contact_sheet
from vid2vid.prepare.extractor import Extractor, Prepared, Say, Tool, Write
from vid2vid.prepare.networks import Segmenter, load_segmenter

LABELS = "labels"
CLASSES = "classes.json"
_SHOWN = 0.001  # share of all pixels from which on a class is named


class Labels(Extractor):
    """Gives every pixel a class.

    Args:
        model: a file of torchvision's weights, or a folder of transformers'.
        device: computes.
    Raises:
        ConfigError, CheckpointError: it cannot be used.
    """

    name = LABELS
    pictures = (LABELS,)

    def __init__(self, model: str | None, device: torch.device) -> None:
        self._segmenter = load_segmenter(model, device)
        self.settings: Mapping[str, Any] = {"model": str(Path(model or "").resolve())}

    def tool(self) -> Tool:
        return _Labeller(self._segmenter)

    def finish(self, prepared: Prepared, say: Say) -> None:
        names = self._segmenter.names
        write_json(
            prepared.out / CLASSES,
            {
                "classes": [
                    {"id": index, "name": name, "color": list(voc_colour(index))} for index, name in enumerate(names)
                ]
            },
        )
        pixels = np.stack([prepared.kept(shot)["pixels"].sum(0) for shot in prepared.shots]).sum(0)
        shares = pixels / pixels.sum()
        for index in np.argsort(-shares):
            if shares[index] >= _SHOWN:
                say(f"{index:>5}  {names[index]:<22} {shares[index]:>8.3%}")
        say(f"{len(names)} classes, their names and colours in {prepared.out / CLASSES}")
        say(f"contact sheet: {write_contact_sheet(prepared)}")
        say(
            f"train: python train.py model=vid2vid data=folders {shown_override('data.root', prepared.out)} "
            f"model.num_labels={len(names)} model.instance_edges=false model.foreground=off"
        )


class _Labeller:
    def __init__(self, segmenter: Segmenter) -> None:
        self._segmenter = segmenter

    def take(self, frames: Iterable[tuple[str, np.ndarray]], write: Write) -> Mapping[str, np.ndarray]:
        classes, counts = len(self._segmenter.names), []
        for key, pixels in frames:
            ids = self._segmenter.ids(pixels).numpy()
            write(LABELS, key, _as_png(ids, classes))
            counts.append(np.bincount(ids.ravel(), minlength=classes))
        return {"pixels": np.array(counts, np.int64).reshape(-1, classes)}

    def close(self) -> None:
        pass


def _as_png(ids: np.ndarray, classes: int) -> bytes:
    """A file of ids: indices of colours, or 16 bits of grey where there are more than 256 classes."""
    if classes > 256:
        picture = Image.fromarray(ids.astype(np.uint16))
    else:
        picture = Image.fromarray(ids.astype(np.uint8))
        picture.putpalette([value for index in range(256) for value in voc_colour(index)])
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()
