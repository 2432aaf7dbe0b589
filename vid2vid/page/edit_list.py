"""The list of edits on the page: entries out of choices, and what of a visitor's own text is taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trainer.errors import ConfigError
from trainer.page.canvas import PaintClass
from trainer.untrusted.plain_yaml import read_yaml
from vid2vid.config import ModelConfig
from vid2vid.generate.edit.objects import knows_cityscapes
from vid2vid.page.generation import edits_text

BECOMES, SWAPS, REMOVED = "becomes", "changes places with", "is removed"
ACTIONS = (BECOMES, SWAPS, REMOVED)
MOST_EDITS = 100
LONGEST = 20_000  # characters
MOST_SCENES = 100  # of the street, to insert from


def entry_of(first: int, action: str, second: int | None, model: ModelConfig) -> dict[str, Any]:
    """One entry of the list out of what was chosen.

    Args:
        first, second: ids of classes; the second is not needed where the first is removed.
        action: of `ACTIONS`.

    Raises:
        ConfigError: a class is missing, or both are the same.
    """
    if action == REMOVED:
        return {"remove": True, "class": _word(first, model)}
    if second is None or first == second or action not in ACTIONS:
        raise ConfigError("choose two different classes: the one to change, and the one that it changes into")
    if action == SWAPS:
        return {"remap": f"{first}:{second},{second}:{first}"}
    return {"replace": _word(second, model), "class": _word(first, model)}


def _word(label: int, model: ModelConfig) -> Any:
    from trainer.data.labels.palette import CLASSES

    return CLASSES[label][0] if knows_cityscapes(model) and label in CLASSES else label


def added(text: str, entry: Mapping[str, Any]) -> str:
    """The text of a list with one more entry."""
    line = edits_text([entry]).removeprefix("edits:\n")
    return f"{text.rstrip()}\n{line}" if text.strip() else f"edits:\n{line}"


def read_text(text: str, folder: Path) -> list[Mapping[str, Any]]:
    """The entries of a text that a visitor may have written; none where it is empty.

    Args:
        folder: the visitor's own, for the file that it is read from.

    Raises:
        ConfigError: no list of edits, or one that would read files of this machine.
    """
    if not text.strip():
        return []
    if len(text) > LONGEST:
        raise ConfigError(f"the edit list has {len(text)} characters: at most {LONGEST} are taken")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "written.yaml"
    path.write_text(text)
    try:
        content = read_yaml(path)
    except ValueError as error:
        words = str(error).replace(f'in "{path}", ', "")
        raise ConfigError(f"the edit list is no YAML ({words}): docs/editing.md shows what it looks like") from error
    finally:
        path.unlink()
    entries = content.get("edits") if isinstance(content, Mapping) else None
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
        raise ConfigError("the edit list needs entries under the one key edits, as docs/editing.md shows")
    if len(entries) > MOST_EDITS:
        raise ConfigError(f"the edit list has {len(entries)} entries: at most {MOST_EDITS} are taken")
    for number, entry in enumerate(entries, 1):
        _refuse_files(number, entry)
    return entries


def _refuse_files(number: int, entry: Mapping[str, Any]) -> None:
    """What scripts/generate.py may read for its user, the page does not read for anybody."""
    if "mask" in entry:
        raise ConfigError(
            f"edit {number}: mask names a file of this machine, which the page does not read; "
            "give a box, or use scripts/generate.py edit="
        )
    insert = entry.get("insert")
    if isinstance(insert, Mapping) and insert.get("source") != "street":
        raise ConfigError(
            f"edit {number}: insert: source={insert.get('source')!r:.60}: the page inserts from source: street alone; "
            "use scripts/generate.py edit= for others"
        )
    clip = insert.get("clip") if isinstance(insert, Mapping) else None
    if isinstance(clip, int) and clip >= MOST_SCENES:  # those before it are made too
        raise ConfigError(
            f"edit {number}: insert: clip={clip!s:.20}: the page inserts from scenes 0 to {MOST_SCENES - 1} of the "
            "street; use scripts/generate.py edit= for others"
        )


def class_choices(classes: Sequence[PaintClass]) -> list[tuple[str, int]]:
    """Names with ids, for a list to choose from."""
    return [(f"{one.name} ({one.id})", one.id) for one in classes]
