"""Changing label ids: `11:21,26:24` on the command line, or a file with a pair in each line. Loads no torch."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.errors import ConfigError
from trainer.files import is_there
from trainer.untrusted import plain_json

LARGEST_ID = (1 << 16) - 1


@dataclass(frozen=True)
class LabelMap:
    """Old ids to new ones, all at once.

    Attributes:
        pairs: (old, new); ids that are not named stay as they are.
        others: what all ids that are not named become; None: they stay.
    """

    pairs: tuple[tuple[int, int], ...]
    others: int | None = None


def parse_pairs(text: str, key: str) -> dict[int, int]:
    """``11:21,26:24`` as {11: 21, 26: 24}.

    Raises:
        ConfigError: what cannot be read, or an id that is changed twice; names ``key``.
    """
    mapping: dict[int, int] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        before, colon, after = part.partition(":")
        try:
            pair = int(before), int(after)
        except ValueError:
            pair = None
        if pair is None or not colon:
            raise ConfigError(f"{key}={text}: '{part}' is not OLD:NEW, such as 11:21 (buildings to vegetation)")
        if pair[0] in mapping:
            raise ConfigError(f"{key}={text}: {pair[0]} is changed twice; give each old label once")
        mapping[pair[0]] = pair[1]
    if not mapping:
        raise ConfigError(f"{key} is empty; give OLD:NEW pairs such as {key}=11:21,26:24")
    return mapping


def ignored_ids(value: Any) -> tuple[int, ...]:
    """`data.ignore_label` as a tuple: one id, several, or none (null)."""
    if value is None:
        return ()
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def parse_label_map(value: Any) -> LabelMap:
    """The value of `data.label_map`: pairs (`*` stands for all other ids), or a file of them.

    Raises:
        ConfigError: neither pairs nor a file, an id twice, or one that label maps cannot have.
    """
    key = "data.label_map"
    if isinstance(value, Mapping):
        return _checked([(str(old), str(new)) for old, new in value.items()], key)
    text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    path = Path(text)
    if re.match(r"\s*(\*|\d+)\s*:", text) and not is_there(path):
        return _checked([part.split(":") for part in text.split(",")], f"{key}={text}")
    if not is_there(path):
        raise ConfigError(
            f"{key}={text}: neither OLD:NEW pairs, such as {key}=255:1 or {key}=[11:21,26:24], nor a file with a pair "
            "in each line"
        )
    try:
        content = path.read_text(encoding="utf-8-sig")
        if content.lstrip().startswith("{"):
            return _checked([(str(old), str(new)) for old, new in plain_json.loads(content).items()], str(path))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{key}={text}: cannot be read ({error})") from error
    lines = [line.split("#")[0].strip() for line in content.splitlines()]
    rows = [re.split(r"[:;,\s]+", line) for line in lines if line]
    if rows and not re.fullmatch(r"\*|\d+", rows[0][0]):
        rows = rows[1:]  # a heading
    return _checked(rows, str(path))


def _checked(rows: Sequence[Sequence[str]], where: str) -> LabelMap:
    pairs: dict[str, int] = {}
    for row in rows:
        items = [item.strip() for item in row if item.strip()]
        shown = ":".join(row)
        if len(items) != 2 or not re.fullmatch(r"\*|\d+", items[0]) or not items[1].isdigit():
            raise ConfigError(f"{where}: '{shown}' is not OLD:NEW, such as 255:1; *:255 stands for all other ids")
        if any(item != "*" and int(item) > LARGEST_ID for item in items):
            raise ConfigError(f"{where}: '{shown}': label ids lie in 0..{LARGEST_ID}")
        old = items[0] if items[0] == "*" else str(int(items[0]))
        if old in pairs:
            raise ConfigError(f"{where}: {old} is changed twice; give each old id once")
        pairs[old] = int(items[1])
    if not pairs:
        raise ConfigError(f"{where}: holds no OLD:NEW pairs, such as 255:1")
    others = pairs.pop("*", None)
    return LabelMap(tuple((int(old), new) for old, new in pairs.items()), others)
