"""A trained classifier as a file that runs without this package. Importing this loads no torch."""

from trainer.export import Format

__all__ = ["Format"]
