"""What a table of variants refuses: settings that would undo the comparison, and another comparison in its folder."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from trainer.config.schema import show
from trainer.errors import ConfigError
from trainer.files import write_json
from trainer.untrusted import plain_json
from vid2vid.ablations.variants import Table, Variant
from vid2vid.config import DataKind, FirstFrame, FlowMethod, Vid2VidConfig

ASKED = "ablations.json"
_ROWS = "rows"  # there: name of a row -> its changes
_ALIKE = ("film", "segmenter", "segmenter_steps", "overrides")  # of all runs of one folder, beside table and length


def check_counts(arguments: Any) -> None:
    """Raises ConfigError where a number is too small."""
    least = {"jobs": 1, "frames": 2, "zoom": 1, "segmenter_steps": 1, "steps": 1, "budget_cpu_s": 1}
    for name, lowest in least.items():
        value = getattr(arguments, name)
        if value is not None and value < lowest:
            raise ConfigError(f"{name}={show(value)}: must be at least {lowest}")
    wrong = [number for number in arguments.sheet if not 0 <= number < arguments.frames]
    if wrong:
        raise ConfigError(
            f"sheet={show(arguments.sheet)}: {wrong[0]}: the video's frames are 0..{arguments.frames - 1}"
        )


def own_keys(table: Table, in_cpu_time: bool, overrides: Sequence[str]) -> list[str]:
    """A line for each setting that is not the user's here."""
    own = table.own_keys(in_cpu_time)
    keys = {word: word.partition("=")[0].lstrip("+~") for word in overrides}
    return [f"{word}: {own[key]}; leave it out" for word, key in keys.items() if key in own]


def not_comparable(config: Vid2VidConfig) -> list[str]:
    """A line for each setting with which the trainings would end in runs that this table cannot measure."""
    data, model = config.data, config.model
    checks = {
        f"data.kind={data.kind.value}: the table is of the built-in street, or of film=PATH; leave data out": (
            data.kind not in (DataKind.street, DataKind.folders)
        ),
        "data.flow=none: the warping error needs flow; leave it out": data.flow is FlowMethod.none,
        f"model.style_channels={model.style_channels}: styles are none of the ablations; leave it out": (
            model.style_channels > 0
        ),
        f"model.first_frame={model.first_frame.value}: all rows are generated from labels alone; leave it out": (
            model.first_frame in (FirstFrame.real, FirstFrame.image)
        ),
    }
    return [line for line, wrong in checks.items() if wrong]


def same_as_before(arguments: Any, length: str, variants: Sequence[Variant], out: Path) -> None:
    """Runs of one table are trained and measured alike: what was asked for first stands in the folder.

    Args:
        length: of each training, in words.
        variants: rows that are asked for; each keeps its meaning, others may come later.

    Raises:
        ConfigError: something else is asked for.
    """
    asked: dict[str, Any] = {"table": arguments.table.value, "length": length}
    asked |= {name: getattr(arguments, name) for name in _ALIKE}
    path = out / ASKED
    before = asked | (_read(path, type(arguments)) if path.is_file() else {})
    rows = {variant.name: shlex.join(variant.changes) for variant in variants}
    known: dict[str, str] = before.pop(_ROWS, {})
    for name in (name for name in rows if known.get(name, rows[name]) != rows[name]):
        raise ConfigError(
            f'variant.{name}="{rows[name]}": the runs {name}-seed... of {out} were made with "{known[name]}"; give the '
            "row another name, or another out=FOLDER"
        )
    changed = [name for name, value in asked.items() if before[name] != value]
    if changed:
        now, earlier = (", ".join(f"{name}={show(x[name])}" for name in changed) for x in (asked, before))
        raise ConfigError(f"{now}: the runs of {out} were made with {earlier}; give the same, or another out=FOLDER")
    write_json(path, asked | {_ROWS: known | rows})


def _read(path: Path, schema: type) -> dict[str, Any]:
    """What stands in the file; where it is of before there were several tables and lengths, in the same words."""
    found: dict[str, Any] = plain_json.loads(path.read_text(encoding="utf-8"))
    if "length" not in found:
        budget, steps = found.pop("budget", None), found.pop("steps", None)
        found["length"] = budget if steps is None else f"{steps} updates"
        defaults = {item.name: item.default for item in fields(schema)}
        found = {"table": "paper", "film": defaults["film"], "segmenter": defaults["segmenter"], **found}
    return found
