"""The named sizes of plain ViTs (Dosovitskiy et al., 2021; Zhai et al., 2022; Touvron et al., 2021). No torch here."""

from __future__ import annotations

import re
from dataclasses import dataclass

from trainer.config.suggestions import did_you_mean
from trainer.errors import ConfigError


@dataclass(frozen=True)
class Variant:
    """Width D, depth (blocks), MLP width, attention heads."""

    width: int
    depth: int
    mlp: int
    heads: int


VARIANTS = {
    "mu": Variant(32, 1, 128, 2),
    "Ti": Variant(192, 12, 768, 3),
    "S": Variant(384, 12, 1536, 6),
    "M": Variant(512, 12, 2048, 8),
    "B": Variant(768, 12, 3072, 12),
    "L": Variant(1024, 24, 4096, 16),
    "So400m": Variant(1152, 27, 4304, 16),
    "H": Variant(1280, 32, 5120, 16),
    "g": Variant(1408, 40, 6144, 16),
    "G": Variant(1664, 48, 8192, 16),
}

_GOOGLE = re.compile(r"(?:ViT-)?(?P<variant>[A-Za-z0-9]+)[/_](?P<patch>\d+)")


def parse_variant(name: str, patch: int) -> tuple[str, int]:
    """A variant's name and patch size out of ``B``, ``B/16``, ``ViT-B_16`` or ``B_16``.

    Args:
        name: as configured; a patch size in it wins.
        patch: used where the name has none.

    Raises:
        ConfigError: there is no such variant.
    """
    match = _GOOGLE.fullmatch(name)
    if match:
        name, patch = match["variant"], int(match["patch"])
    if name not in VARIANTS:
        near = did_you_mean(name, VARIANTS) or ";"
        raise ConfigError(f"model.variant={name}: no such variant{near} variants: {', '.join(VARIANTS)}, or like B/16")
    return name, patch
