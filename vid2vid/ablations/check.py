"""What a table of variants refuses: settings that would undo the comparison, and another comparison in its folder."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from trainer.config.schema import show
from trainer.errors import ConfigError
from trainer.files import write_json
from trainer.untrusted import plain_json
from vid2vid.ablations.variants import Table, Variant, given_keys
from vid2vid.config import DataKind, FirstFrame, FlowMethod, SourceKind, Vid2VidConfig

ASKED = "ablations.json"
PACE = "pace.json"  # variant -> CPU seconds of a batch
FIGURES = "ablation.json"  # in a run's folder: its figures, so that they are measured once
SEGMENTER = "segmenter.safetensors"  # that a table trains for itself
_ROWS = "rows"  # there: name of a row -> its changes
# What the real frames and the flow of a measured clip come of.
_FRAMES = (
    "kind", "root", "val_root", "val_share", "images_dir", "crop", "range", "label_map", "ignore_label", "flow",
    "flow_weights", "flow_dir", "fps", "cut_threshold", "val_clips", "val_frames", "supersample", "world_seed",
    "street_houses", "street_detail",
)  # fmt: skip
_ALIKE = ("film", "overrides")  # of all runs of one folder, beside table and length
_MEASURED = ("segmenter", "segmenter_steps")  # of all figures of one folder


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
    return _refused("", overrides, table.own_keys(in_cpu_time))


def given_keys_of_rows(in_cpu_time: bool, variants: Sequence[Variant]) -> list[str]:
    """The same of the words of rows, where the training's own would win."""
    own = given_keys(in_cpu_time)
    return [line for each in variants for line in _refused(f"variant.{each.name}: ", each.changes, own)]


def _refused(before: str, words: Sequence[str], own: Mapping[str, str]) -> list[str]:
    keys = {word: word.partition("=")[0].lstrip("+~") for word in words}
    return [f"{before}{word}: {own[key]}; leave it out" for word, key in keys.items() if key in own]


def measured_alike(configs: Mapping[str, Vid2VidConfig], reference: str) -> list[str]:
    """A line for each setting with which a row would be measured on other frames than the reference.

    Args:
        configs: by name of the row.
        reference: a row's name.
    """
    found, first = [], configs[reference]
    for name, config in configs.items():
        pairs = {"resolution": (config.resolution, first.resolution)}
        pairs |= {f"data.{key}": (getattr(config.data, key), getattr(first.data, key)) for key in _FRAMES}
        found += [
            f"variant.{name}: {key}={show(own)}, but {reference} has {show(other)}, and all rows are measured on the "
            f"same frames; give {key} for all rows, or leave it out"
            for key, (own, other) in pairs.items()
            if own != other
        ]
    return found


def not_comparable(config: Vid2VidConfig) -> list[str]:
    """A line for each setting with which the trainings would end in runs that this table cannot measure."""
    data, model = config.data, config.model
    checks = {
        f"data.kind={data.kind.value}: the table is of the built-in street, or of film=PATH; leave data out": (
            data.kind not in (DataKind.street, DataKind.folders)
        ),
        "data.flow=none: the warping error needs flow; leave it out": data.flow is FlowMethod.none,
        f"model.first_frame={model.first_frame.value}: all rows are generated from labels alone; leave it out": (
            model.first_frame in (FirstFrame.real, FirstFrame.image)
        ),
    }
    return [line for line, wrong in checks.items() if wrong]


def styled_alike(configs: Mapping[str, Vid2VidConfig]) -> list[str]:
    """A line where some rows have styles only: they are measured with the vectors of the real frames that they draw."""
    styles = {name: config.model.style_channels for name, config in configs.items()}
    if len(set(styles.values())) == 1:
        return []
    told = ", ".join(f"{name} has {count}" for name, count in styles.items())
    return [f"model.style_channels: {told}; give all rows the same, for those with styles see the real frames"]


def check_segmenter(given: str | None, config: Vid2VidConfig) -> None:
    """Whether a segmenter that is given can measure: it is needed when all trainings are done.

    Args:
        config: of one of the rows.

    Raises:
        UserError: no such file, not a segmenter, or data without label maps.
    """
    if given is None:
        return
    if config.model.source is SourceKind.image:
        raise ConfigError(
            f"segmenter={given} compares with label maps, and the film has none (model.source=image); leave it out"
        )
    from torch import device

    from vid2vid.evaluate.chosen import build_clip_metrics

    build_clip_metrics(segmenter=given, config=config, device=device("cpu"))


def same_as_before(arguments: Any, length: str, variants: Sequence[Variant], out: Path) -> None:
    """Runs of one table are trained and measured alike: what was asked for first stands in the folder.

    It holds for what has come of it: rows that were timed or have a checkpoint, and figures that were measured. After a
    training that failed at its beginning the same folder takes other words.

    Args:
        length: of each training, in words.
        variants: rows that are asked for; each keeps its meaning, others may come later.

    Raises:
        ConfigError: something else is asked for.
    """
    asked: dict[str, Any] = {"table": arguments.table.value, "length": length}
    asked |= {name: getattr(arguments, name) for name in (*_ALIKE, *_MEASURED)}
    path = out / ASKED
    begun = _begun(out)
    before = asked | (_read(path, type(arguments)) if path.is_file() and begun else {})
    rows = {variant.name: shlex.join(variant.changes) for variant in variants}
    known: dict[str, str] = {name: row for name, row in before.pop(_ROWS, {}).items() if name in begun}
    for name in (name for name in rows if known.get(name, rows[name]) != rows[name]):
        raise ConfigError(
            f'variant.{name}="{rows[name]}": the runs {name}-seed... of {out} were made with "{known[name]}"; give the '
            "row another name, or another out=FOLDER"
        )
    measured = {_MEASURED[0]: any(out.glob(f"*-seed*/{FIGURES}"))}
    measured[_MEASURED[1]] = measured[_MEASURED[0]] or (out / SEGMENTER).is_file()
    changed = [name for name, value in asked.items() if before[name] != value and measured.get(name, True)]
    if changed:
        now, earlier = (", ".join(f"{name}={show(x[name])}" for name in changed) for x in (asked, before))
        raise ConfigError(f"{now}: the runs of {out} were made with {earlier}; give the same, or another out=FOLDER")
    write_json(path, asked | {_ROWS: known | rows})


def _begun(out: Path) -> set[str]:
    """Names of the rows that were timed, or of which a training has come to a checkpoint."""
    found = set(stored(out / PACE)) if (out / PACE).is_file() else set()
    for part in ("checkpoints", "done.json"):
        found |= {path.parent.name.rpartition("-seed")[0] for path in out.glob(f"*-seed*/{part}")}
    return found


def same_rows(pace: Path, variants: Sequence[Variant]) -> None:
    """Raises ConfigError where a table that was timed elsewhere has a row of one of these names with other changes.

    Args:
        pace: its file; what its rows are stands beside it, where it was left there.
    """
    path = pace.parent / ASKED
    known = stored(path).get(_ROWS, {}) if path.is_file() else {}
    for variant in variants:
        own, theirs = shlex.join(variant.changes), known.get(variant.name)
        if theirs not in (None, own):
            raise ConfigError(
                f'pace={pace}: its row {variant.name} was timed with "{theirs}", here it is "{own}": give the same, or '
                "the row another name and a table that times it"
            )


def _read(path: Path, schema: type) -> dict[str, Any]:
    """What stands in the file; where it is of before there were several tables and lengths, in the same words."""
    found = stored(path)
    if "length" not in found:
        budget, steps = found.pop("budget", None), found.pop("steps", None)
        found["length"] = budget if steps is None else f"{steps} updates"
        defaults = {item.name: item.default for item in fields(schema)}
        found = {"table": "paper", "film": defaults["film"], "segmenter": defaults["segmenter"], **found}
    return found


def stored(path: Path) -> dict[str, Any]:
    """What a table keeps in its folder, or in one of its runs'.

    Raises:
        ConfigError: the file is damaged.
    """
    try:
        found = plain_json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{path} is damaged ({error}): delete it, or give another out=FOLDER") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{path} is damaged (it holds no table): delete it, or give another out=FOLDER")
    return found
