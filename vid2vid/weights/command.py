"""``scripts/convert.py format=vid2vid``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

FORMATS = ("vid2vid",)


def run(arguments: Any) -> Iterable[str]:
    """Convert between the originals' state dicts and ours; what was done, in lines.

    Args:
        arguments: the script's: ``src`` and ``dst``.

    Raises:
        UserError: files that cannot be converted.
    """
    from vid2vid.weights.originals import convert

    return convert(arguments.src, arguments.dst)
