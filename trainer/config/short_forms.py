"""Command-line words as people type them, written out as Hydra reads them. Loads neither torch nor Hydra."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from trainer.config.schema import Schemas, is_free, is_text

# What says the same in other units: whoever types the one does not want the other that a file may have.
_INSTEAD = {
    "trainer.max_samples": "trainer.max_epochs",
    "trainer.max_epochs": "trainer.max_samples",
    "schedule.warmup": "schedule.warmup_epochs",
    "schedule.warmup_from": "schedule.warmup_lr",
    "schedule.final": "schedule.min_lr",
}
_RESOLUTION = re.compile(r"(?P<key>\+{0,2}(?:curriculum\.stages\.[^.=]+\.)?resolution)=(?P<value>.+)")
_PAIRS = re.compile(r"(?P<key>[^=]+)=(?P<value>[\d*]+:\d+(?:,[\d*]+:\d+)+)")
_ITEM = re.compile(r"\[[^\[\]]*\]|[^,\[\]]+")
_ASSIGNMENT = re.compile(r"(?P<key>\+{0,2}[A-Za-z_][\w./@:-]*)=(?P<value>.+)", re.DOTALL)
_UNREADABLE = re.compile(r"[^A-Za-z0-9_/\\+.$%*@?|:,\s-]")  # what Hydra's grammar takes in quotes only
_SYNTAX = re.compile(r"""['"\[{].*|\w+\(.*\)|.*\$\{.*""", re.DOTALL)  # quoted, a list, a function, an interpolation
_NO_TEXT = re.compile(  # what Hydra reads as a number, true or false: 2024_11_26 as 20241126, 1e3 as 1000.0
    r"[+-]?(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:e[+-]?\d[\d_]*)?|[+-]?(?:inf|nan)|true|false", re.IGNORECASE
)


def written_out(words: Sequence[str], sweep: bool = False, schemas: Schemas | None = None) -> list[str]:
    """Words in Hydra's syntax: ``resolution=224`` as ``resolution=[224,224]``, and text in quotes where it needs them.

    A path may hold ``=`` (the folders of a sweep do), spaces, brackets, quotes, ``~`` and letters of any language.

    Pairs, ``data.label_map=11:21,26:24``, become a list. With schemas, what a key of text has stays as it was typed
    (``name=2024_11_26``), and names may be put into mappings that take any (``loss.class_weight_values={star: 2}``).

    A length, a warm-up or a rate that is typed goes before one in other units that a file has (``_INSTEAD``).

    Args:
        words: ``key=value`` and flags; all others stay as they are.
        sweep: commas separate the values of a sweep: ``resolution=64,128`` means two squares.
        schemas: task name to root dataclass.
    """
    found = []
    for word in words:
        square = _square(word, sweep)
        found.append(_typed(_quoted(square if sweep else _pairs(square), sweep), sweep, schemas or {}))
    keys = [match["key"] for match in map(_ASSIGNMENT.fullmatch, found) if match]
    return found + [f"{other}=null" for key, other in _INSTEAD.items() if key in keys and other not in keys]


def shown_override(key: str, value: object) -> str:
    """``key=value`` as it can be typed into a shell."""
    return shlex.quote(f"{key}={value}")


def _pairs(word: str) -> str:
    match = _PAIRS.fullmatch(word)
    return f"{match['key']}=[{match['value']}]" if match else word


def _square(word: str, sweep: bool) -> str:
    match = _RESOLUTION.fullmatch(word)
    if not match:
        return word
    items = [item.strip() for item in _ITEM.findall(match["value"])] if sweep else [match["value"].strip()]
    return f"{match['key']}=" + ",".join(f"[{item},{item}]" if item.isdecimal() else item for item in items)


def _quoted(word: str, sweep: bool) -> str:
    match = _ASSIGNMENT.fullmatch(word)
    if not match or not _UNREADABLE.search(match["value"]) or _SYNTAX.fullmatch(match["value"]):
        return word
    items = match["value"].split(",") if sweep else [match["value"]]
    return f"{match['key']}=" + ",".join(_quote(item) if _UNREADABLE.search(item) else item for item in items)


def _typed(word: str, sweep: bool, schemas: Schemas) -> str:
    match = _ASSIGNMENT.fullmatch(word)
    if not match:
        return word
    key, value = match["key"].lstrip("+"), match["value"]
    if any(is_text(schema, key) for schema in schemas.values()):
        items = value.split(",") if sweep and not _SYNTAX.fullmatch(value) else [value]
        value = ",".join(_quote(item) if _NO_TEXT.fullmatch(item) else item for item in items)
    elif any(is_free(schema, key) for schema in schemas.values()):
        return f"++{key}={value}"  # Hydra adds none without
    return f"{match['key']}={value}"


def _quote(text: str) -> str:
    # A backslash counts as itself unless a quote follows.
    return "'" + re.sub(r"(\\*)('|$)", lambda m: m[1] * 2 + ("\\'" if m[2] else ""), text) + "'"
