"""data.range in configurations and checkpoints: how the range of a run's pictures travels with its weights.

Loads no torch. What a range means, and how `auto` finds it: `measure.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from vid2vid.config import DataConfig

if TYPE_CHECKING:
    from trainer.data.pictures.decode import Span

KEYS = ("range", "source_range")


def as_span(value: Any) -> Span | None:
    """`data.range` as numbers; None for auto."""
    return None if value in (None, "auto") else (float(value[0]), float(value[1]))


def ranges_of(data: DataConfig) -> dict[str, list[float]]:
    """The ranges of a configuration that are numbers, by key: what a checkpoint keeps."""
    spans = {key: as_span(getattr(data, key)) for key in KEYS}
    return {key: list(span) for key, span in spans.items() if span is not None}


def with_ranges(data: DataConfig, stored: Mapping[str, Sequence[float]]) -> DataConfig:
    """A configuration that has the stored ranges where it says auto itself."""
    source = "auto" if data.source_range is None and data.range == "auto" else data.source_range
    found = {key: list(stored[key]) for key in KEYS if key in stored}
    if data.range != "auto":
        found.pop("range", None)
    if source != "auto":
        found.pop("source_range", None)
    return replace(data, **found)
