"""How a run was made, out of what it wrote: its command, how long it took, on what, and what it measured."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from trainer.cards.places import without_places
from trainer.config.resolve import load_yaml
from trainer.errors import UserError
from trainer.untrusted import plain_json

COMMAND = "# python train.py"  # how the first line of a run's config.yaml begins
EVALUATION = "eval.json"
_STAMP = re.compile(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (.*)")
_BEGINS = ", run directory "  # in the first line that a session logs
_DEVICE = re.compile(r"^device (.+), precision (\S+) .*?(\d+) process(?:es)?\b", re.MULTILINE)
_LOG_BYTES = 64 << 20  # of train.log that are read


def command_line(words: Sequence[str], run_dir: Path) -> str:
    """The first line of a run's ``config.yaml``, a comment: what it was started with.

    Without words it is the line that is there already, for a run that goes on by itself. Empty where there is none, and
    where one of the words has a sign that would end the line.
    """
    line = f"{COMMAND} {shlex.join(words)}" if words else _heading(run_dir)
    return f"{line}\n" if line and line.isprintable() else ""


@dataclass(frozen=True)
class Recipe:
    """How weights were made.

    Attributes:
        name: of the run, or of what it was made of.
        command: that trained it, its paths replaced by ``PATH``; empty: it was not kept.
        rows: (what, value) for the card: steps, samples, seed, versions, hardware, duration.
        data: (what, value): kind, amount.
        metrics: name -> number (None: no number), of the run's own evaluation; empty: there was none.
        measured: (what, value): what the metrics are of.
        config: the run's configuration as plain data, without places.
    """

    name: str
    command: str = ""
    rows: list[tuple[str, str]] = field(default_factory=list)
    data: list[tuple[str, str]] = field(default_factory=list)
    metrics: dict[str, float | None] = field(default_factory=dict)
    measured: list[tuple[str, str]] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)


def of_run(run_dir: Path, meta: Mapping[str, Any]) -> Recipe:
    """The recipe of a run's weights.

    Args:
        run_dir: such as ``runs/demo``; what is missing in it is left out.
        meta: of the checkpoint.
    """
    config = meta.get("config") or _stored(run_dir)
    metrics, measured = _evaluation(run_dir / EVALUATION, int(meta.get("step", 0)))
    sessions, device = _log(run_dir / "train.log")
    rows = [("steps", f"{int(meta.get('step', 0)):,}"), ("samples seen", f"{int(meta.get('samples_seen', 0)):,}")]
    rows += [("seed", str(config["seed"]))] if "seed" in config else []
    rows += [("versions", versions)] if (versions := _versions(meta)) else []
    rows += [("hardware", device)] if device else []
    rows += [("duration", sessions)] if sessions else []
    return Recipe(
        without_places(run_dir.resolve().name),
        _command(run_dir),
        rows,
        _data(config, meta.get("data") or {}),
        metrics,
        measured,
        without_places(config),
    )


def newest_sample(run_dir: Path, name: str, suffixes: Sequence[str] = (".png",)) -> Path | None:
    """The newest of a run's ``samples/NAME-STEP.*``, or ``NAME.*`` in its folder; None: it has none."""
    found = [path for path in (run_dir / "samples").glob(f"{name}-*") if path.suffix in suffixes]
    if found:
        return max(found, key=lambda path: path.stem)
    return next((path for end in suffixes if (path := run_dir / f"{name}{end}").is_file()), None)


def _stored(run_dir: Path) -> dict[str, Any]:
    try:
        return load_yaml(run_dir / "config.yaml")
    except UserError:
        return {}


def _command(run_dir: Path) -> str:
    """As kept, each word's places replaced."""
    try:
        words = shlex.split(_heading(run_dir).removeprefix(COMMAND))
    except ValueError:
        return ""
    return shlex.join(["python", "train.py", *(without_places(word) for word in words)]) if words else ""


def _heading(run_dir: Path) -> str:
    """The command that ``config.yaml`` begins with; empty where it does not."""
    try:
        with (run_dir / "config.yaml").open(encoding="utf-8", errors="replace") as file:
            first = file.readline(1 << 16).strip()
    except OSError:
        return ""
    return first if first.startswith(f"{COMMAND} ") else ""


def _versions(meta: Mapping[str, Any]) -> str:
    found = [f"{name} {meta[name]}" for name in ("vivid", "torch") if meta.get(name)]
    return ", ".join(found)


def _data(config: Mapping[str, Any], facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Kind, place and amount; lists are counted."""
    data = config.get("data") or {}
    rows = [("kind", str(data["kind"]))] if data.get("kind") else []
    if data.get("root"):
        rows.append(("folder", without_places(str(data["root"]))))
    for name, value in facts.items():
        if isinstance(value, list) and name != "files":  # of pictures: counted beside
            rows.append((str(name), str(len(value))))
        elif isinstance(value, int | float) and not isinstance(value, bool):
            rows.append((str(name), f"{value:,}"))
    if config.get("resolution"):
        height, width = config["resolution"]
        rows.append(("resolution", f"{height}x{width} pixels (height x width)"))
    return rows


def _evaluation(path: Path, step: int) -> tuple[dict[str, float | None], list[tuple[str, str]]]:
    """Metrics are the fractions of ``eval.json``, what they are of its counts and words."""
    try:
        told = plain_json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}, []
    if not isinstance(told, dict):
        return {}, []
    metrics = {str(name): value for name, value in told.items() if isinstance(value, float) or value is None}
    if not metrics:
        return {}, []
    rest = {name: value for name, value in told.items() if name not in metrics}
    rows = [(str(name).replace("_", " "), without_places(str(value))) for name, value in rest.items()]
    if isinstance(rest.get("step"), int) and rest["step"] != step:
        rows.append(("not of these weights", f"measured at step {rest['step']:,}, the weights are of step {step:,}"))
    return metrics, rows


def _log(path: Path) -> tuple[str, str]:
    """(time that its sessions took, what they ran on), as far as ``train.log`` tells."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            text = file.read(_LOG_BYTES)
    except OSError:
        return "", ""
    spans: list[list[datetime]] = []
    for line in text.splitlines():
        if match := _STAMP.match(line):
            time = datetime.fromisoformat(match[1])
            if _BEGINS in match[2] or not spans:
                spans.append([time, time])
            spans[-1][1] = time
    seconds = sum((end - begin).total_seconds() for begin, end in spans)
    found = _DEVICE.findall(text)
    several = {"1": "1 process"}
    devices = list(dict.fromkeys(f"{name}, {kind}, {several.get(n, f'{n} processes')}" for name, kind, n in found))
    took = f"{_duration(seconds)} in {len(spans)} session{'s' * (len(spans) != 1)}" if spans else ""
    return took, without_places("; then ".join(devices))


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
