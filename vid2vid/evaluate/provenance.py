"""Which data, weights and settings an evaluation measured: ``eval.json`` says it, and so may the file's name.

``eval.json`` is the run's own evaluation: the validation clips of its own data, generated as it was trained to.
Whatever else is asked for (another split, other data, other clips, another checkpoint) gets a file of its own, the same
one when the same is asked again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from trainer.config.resolve import flatten, plain
from trainer.config.schema import show
from vid2vid.config import DataConfig, Vid2VidConfig
from vid2vid.data.ranges.settings import with_ranges

OWN = "eval.json"
OWN_STYLE = "own (E encodes the real frames)"

# Of `data`: how it is read or augmented in training, which no evaluation depends on.
_INDIFFERENT = ("workers", "flow_cache", "on_bad_file", "scale", "flip", "frame_step", "clips", "start_frames")


def facts(
    config: Vid2VidConfig,
    clips: int,
    frames: int,
    skipped: int = 0,
    *,
    resolution: tuple[int, int],
    split: str = "val",
    averaged: bool | None = None,
) -> dict[str, str | int | float]:
    """Flat, for ``eval.json``.

    Args:
        config: that the data were built from and the clips generated with.
        clips, frames: how many clips, and frames in all, were generated.
        skipped: clips with a bad file, which count nowhere (data.on_bad_file=skip).
        resolution: (height, width) in pixels.
        averaged: whether the weights were the averaged (EMA) ones; None: as the run keeps them.
    """
    data = config.data
    root = data.root if split == "train" or data.val_root is None else data.val_root
    averaged = config.trainer.ema is not None if averaged is None else averaged
    return {
        "split": split,
        "data": data.kind.name,
        **({} if root is None else {"data_root": root}),
        "clips": clips,
        "frames": frames,
        **({"skipped": skipped} if skipped else {}),
        "first_frame": config.model.first_frame.name,
        "resolution": f"{resolution[0]}x{resolution[1]}",
        "weights": "EMA" if averaged else "raw",
        "flow": data.flow.name,
        **({"style": OWN_STYLE} if config.model.style_channels else {}),
    }


def changed_data(own: DataConfig, data: DataConfig, ranges: Mapping[str, Sequence[float]]) -> dict[str, str]:
    """Settings of the data that differ from the run's own, ``data.key`` -> value.

    Args:
        ranges: what data.range=auto meant in the run: the numbers themselves are then no other setting.
    """
    before, now = (flatten({"data": plain(part)}) for part in (with_ranges(own, ranges), data))
    skipped = {f"data.{name}" for name in _INDIFFERENT}
    return {key: show(value) for key, value in now.items() if key not in skipped and before.get(key) != value}


def file_name(requested: Mapping[str, Any]) -> str:
    """Of the record of an evaluation.

    Args:
        requested: what differs from the run's own evaluation; empty for that one.
    """
    if not requested:
        return OWN
    split = requested.get("split", "val")
    if set(requested) == {"split"}:
        return f"eval-{split}.json"
    text = json.dumps({key: str(value) for key, value in requested.items()}, sort_keys=True)
    return f"eval-{split}-{hashlib.blake2b(text.encode(), digest_size=4).hexdigest()}.json"
