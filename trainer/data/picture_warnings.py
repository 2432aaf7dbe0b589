"""Warnings of libraries about users' files that nobody can act on: damaged EXIF, palettes with transparency, size."""

from __future__ import annotations

import warnings


def quiet_pictures() -> None:
    """Pillow's warnings are not shown; what cannot be read is an error anyway. Every process that reads calls this."""
    warnings.filterwarnings("ignore", module=r"PIL\.")
