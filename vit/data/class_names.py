"""Names of classes: their order, what they are compared by, and whether they say anything."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

from trainer.data.natural_order import natural_key
from vit.config import ClassOrder


def in_order(names: Iterable[str], order: ClassOrder) -> list[str]:
    """Distinct names in one order: ``natural`` as people count, ``ascii`` by code points as torchvision sorts."""
    return sorted(set(names), key=natural_key if order is ClassOrder.natural else None)


def class_keys(names: Iterable[str]) -> list[str]:
    """What class names are compared by: a WordNet id alone where there is one, however ImageNet's words are put; else
    the name, however the disk spells its accents (as Macs do, in two characters)."""
    spelled = (unicodedata.normalize("NFC", name).strip() for name in names)
    return [found[0] if (found := re.match(r"n\d{8}(?=\s|$)", name)) else name for name in spelled]


def readable(names: Sequence[str]) -> list[str]:
    """Names of files as text, also where their bytes are none in UTF-8 (archives of Windows): as Windows-1252, else
    Latin-1. As they are where two would become one."""

    def text(name: str) -> str:
        raw = name.encode("utf-8", "surrogateescape")
        for encoding in ("utf-8", "cp1252"):
            try:
                return raw.decode(encoding)
            except UnicodeDecodeError:
                continue
        return raw.decode("latin-1")

    found = [text(name) for name in names]
    return found if len(set(found)) == len(set(names)) else list(names)


def unnamed(names: Sequence[str]) -> bool:
    """Whether class names say no more than the index: numbers, or what transformers writes where nobody named them."""
    placeholders = all(re.fullmatch(r"LABEL_\d+", name) for name in names)
    return placeholders or list(names) == [str(i) for i in range(len(names))]
