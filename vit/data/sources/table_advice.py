"""What to say of a table whose columns, heading or files are not those that were asked for."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from trainer.config.short_forms import shown_override
from trainer.config.suggestions import did_you_mean
from trainer.data.natural_order import natural_key
from trainer.data.pictures.files import picture_extensions
from trainer.text import few
from vit.data.sources.layout import role_in
from vit.data.sources.table_files import whereabouts

_SHOWN = 20  # columns
_MARKS = frozenset({"0", "1", "0.0", "1.0", "true", "false"})
_PROBED = 200  # rows whose files are looked for


def no_column(key: str, name: str, heading: Sequence[str], rows: Sequence[Sequence[str]], path: Path) -> str:
    """What to say where a table has no column ``name``.

    Args:
        key: of the configuration, that named it (``csv_path`` or ``csv_label``).
        rows: below the heading.
    """
    found = few(heading, _SHOWN) or "none, the file is empty"
    hint = _no_heading(heading, path) or _pixels(heading)
    if not hint and key == "csv_label":
        hint = _one_hot(heading, rows)
    return f"{path}: no column '{name}'{did_you_mean(name, list(heading))} (data.{key}). Its columns are: {found}" + (
        f". {hint}" if hint else ""
    )


def _no_heading(heading: Sequence[str], path: Path) -> str:
    """A list of pictures that begins at once, like ``im/0.png 3``."""
    first = next((word for cell in heading for word in cell.split()[:1]), "")
    if os.path.splitext(first)[1].lower() not in picture_extensions():
        return ""
    if len(heading) > 1:
        return f"Its first line is a picture's, but a heading is needed: put a line like path,label above it, in {path}"
    if len(heading[0].split()) != 2:
        return "Its first line is a picture's, but a heading is needed, and a column of labels"
    command = f"sed -i '1i path label' {shlex.quote(str(path))}"
    return (
        f"Its first line is a picture's, but a heading is needed: {command} puts one above it, and "
        "\"data.csv_delimiter=' '\" reads the blanks between its cells"
    )


def _pixels(heading: Sequence[str]) -> str:
    if sum(name.lower().startswith("pixel") for name in heading) > 9 or list(heading[1:2]) == ["pixels"]:
        return "It holds pixels, not names of files: docs/data.md has the lines that make pictures of them"
    return ""


def _one_hot(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    width = min((len(row) for row in rows), default=0)
    marked = [n for at, n in enumerate(heading[:width]) if {row[at].strip().lower() for row in rows} <= _MARKS]
    if len(marked) < 2:
        return ""
    return f"{len(marked)} of them hold 0 and 1 alone; where each is a class: " + shown_override(
        "data.csv_label", f"[{','.join(marked)}]"
    )


def no_table(root: Path) -> str:
    """What to say of a folder without ``train.csv``."""
    tables = sorted(path.name for path in root.iterdir() if path.suffix.lower() in (".csv", ".tsv"))
    text = f"{root}: no train.csv in this folder (tables there: {', '.join(tables) or 'none'}). "
    below = {role: path for path in sorted(root.glob("*/*.csv")) if (role := role_in(path.parent.name))}
    lists = sorted(path.name for path in root.glob("*.txt"))
    if not tables and "train" in below:
        keys = {"train": "data.root", "val": "data.val_root", "test": "data.test_root"}
        given = " ".join(shown_override(keys[role], below[role]) for role in keys if role in below)
        return f"{text}Each split has its own: {given}"
    listed = f" (or a list: {few(lists, 3)})" if not tables and lists else ""
    return f"{text}Give the table itself: data.root=FOLDER/TABLE.csv{listed}"


def places(cells: Sequence[str], folder: Path) -> dict[str, str]:
    """``data.csv_folder`` and ``data.csv_suffix`` with which files of a table are found below its folder; or nothing.

    Where they lie in several folders, a pattern of these.
    """
    step = max(1, len(cells) // _PROBED)
    found = [whereabouts(cell.strip(), folder) for cell in cells[::step]]
    below = sorted({where for where, _ in found}, key=natural_key)
    suffixes = {suffix for _, suffix in found}
    if len(suffixes) > 1 or (len(below) > 1 and "" in below):
        where, suffix = found[0]
    else:
        where, suffix = _pattern(below), suffixes.pop()
    settings = {"data.csv_folder": where, "data.csv_suffix": suffix}
    return {key: value for key, value in settings.items() if value}


def _pattern(folders: Sequence[str]) -> str:
    """One that stands for all: of names that differ the beginning and the end, without digits; of depths, all."""
    parts = [folder.split("/") for folder in folders]
    if len({len(part) for part in parts}) > 1:
        return "**"
    return "/".join(_joined(sorted(set(level))) for level in zip(*parts, strict=True))


def _joined(names: Sequence[str]) -> str:
    if len(names) == 1:
        return names[0]
    start = re.sub(r"\d+$", "", os.path.commonprefix(list(names)))  # noqa: RUF071  # of one level of folders
    rest = [name[len(start) :][::-1] for name in names]
    end = re.sub(r"^\d+", "", os.path.commonprefix(rest)[::-1])  # noqa: RUF071
    return f"{start}*{end}"
