"""``scripts/convert.py`` for a plain ViT: to the names and files of another library, or to ours."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from trainer.config.arguments import size_of
from vit.weights import FORMATS as FORMATS


def run(arguments: Any) -> Iterable[str]:
    """Convert, and read back what was written; what was done, in lines.

    Args:
        arguments: the script's.

    Raises:
        UserError: files that cannot be converted.
    """
    from vit.weights.conversion import convert

    return convert(
        arguments.src,
        arguments.dst,
        arguments.format.value,
        layout=arguments.layout.value,
        heads=arguments.heads,
        resolution=size_of(arguments.resolution),
        mean=arguments.mean,
        std=arguments.std,
    )
