"""Short forms of command-line words, written out before Hydra reads them. Loads neither torch nor Hydra."""

from __future__ import annotations

import re
from collections.abc import Sequence

_RESOLUTION = re.compile(r"(?P<key>\+{0,2}(?:curriculum\.stages\.[^.=]+\.)?resolution)=(?P<value>.+)")
_PAIRS = re.compile(r"(?P<key>[^=]+)=(?P<value>[\d*]+:\d+(?:,[\d*]+:\d+)+)")
_ITEM = re.compile(r"\[[^\[\]]*\]|[^,\[\]]+")


def written_out(words: Sequence[str], sweep: bool = False) -> list[str]:
    """Words with ``resolution=224`` as ``resolution=[224,224]``; for ``curriculum.stages.NAME.resolution`` likewise.

    Pairs, ``data.label_map=11:21,26:24``, become a list.

    Args:
        words: ``key=value`` and flags; all others stay as they are.
        sweep: commas separate the values of a sweep: ``resolution=64,128`` means two squares.
    """
    return [_square(word, sweep) if sweep else _pairs(_square(word, sweep)) for word in words]


def _pairs(word: str) -> str:
    match = _PAIRS.fullmatch(word)
    return f"{match['key']}=[{match['value']}]" if match else word


def _square(word: str, sweep: bool) -> str:
    match = _RESOLUTION.fullmatch(word)
    if not match:
        return word
    items = [item.strip() for item in _ITEM.findall(match["value"])] if sweep else [match["value"].strip()]
    return f"{match['key']}=" + ",".join(f"[{item},{item}]" if item.isdecimal() else item for item in items)
