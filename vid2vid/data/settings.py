"""Checks of the settings that say how label maps and pictures are read, before any file is. Loads no torch."""

from __future__ import annotations

from typing import Any

from trainer.config.schema import show
from trainer.data.labels.colour_tables import NAMED, colour_table, table_of
from trainer.data.labels.label_map import ignored_ids, parse_label_map
from trainer.errors import ConfigError, DataError
from trainer.untrusted.numbers import is_finite
from trainer.validate import each_once
from vid2vid.config import DataConfig, LabelFormat, ModelConfig
from vid2vid.data.sources.kinds import wants_labels

_FORMATS = ("auto", "ids", "red_channel")


def reading_problems(data: DataConfig, model: ModelConfig) -> list[str]:
    """One line for each setting that cannot be, or that contradicts another: key, value, remedy."""
    found = _ignore_problems(data, model)
    found += _format_problems(data)
    if data.label_map is not None:
        try:
            parse_label_map(data.label_map)
        except ConfigError as error:
            found += error.problems
    for key, value in (("data.range", data.range), ("data.source_range", data.source_range)):
        if not _is_range(value) and not (value is None and key == "data.source_range"):
            found.append(f"{key}={show(value)}: needs auto, or [black,white] with black below white, like [0,4095]")
    for key, value in (("data.label_suffix", data.label_suffix), ("data.image_suffix", data.image_suffix)):
        if value is not None and ("/" in value or "*" in value):
            found.append(f"{key}={value}: is the end of names without their extension, such as _mask")
    return found


def _ignore_problems(data: DataConfig, model: ModelConfig) -> list[str]:
    ignored = ignored_ids(data.ignore_label)
    if not all(isinstance(label, int) and not isinstance(label, bool) for label in ignored):
        return [f"data.ignore_label={show(data.ignore_label)}: needs an id, several like [255,0], or null for none"]
    if isinstance(data.ignore_label, list) and (again := each_once("data.ignore_label", data.ignore_label)):
        return again
    both = [label for label in model.label_ids or () if label in ignored]
    if not both or not wants_labels(model):
        return []
    left = [label for label in ignored if label not in both]
    rest = show(left if len(left) > 1 else left[0] if left else None)
    return [
        f"model.label_ids has {show(both)}, and data.ignore_label={show(data.ignore_label)} says that it belongs to no "
        f"class: set data.ignore_label={rest}, or take it out of model.label_ids"
    ]


def _format_problems(data: DataConfig) -> list[str]:
    form = data.label_format
    if form == "auto":
        return []
    if data.labels is LabelFormat.rgb:
        return [f"data.label_format={form} reads ids, but data.labels=rgb takes label maps as pictures: leave one out"]
    if form in _FORMATS:
        return []
    source = table_of(form)
    if not source:
        choices = ", ".join([*_FORMATS, "colors:FILE", *(f"colors:{name}" for name in NAMED)])
        return [f"data.label_format={form} is not one of: {choices}"]
    try:
        colour_table(source)
    except DataError as error:
        return [str(error)]
    return []


def _is_range(value: Any) -> bool:
    if value == "auto":
        return True
    if not isinstance(value, list | tuple) or len(value) != 2:
        return False
    numbers = [x for x in value if is_finite(x)]
    return len(numbers) == 2 and numbers[0] < numbers[1]
