"""Checkpoints of other projects and libraries, in and out."""

from vit.interchange.foreign import Foreign
from vit.interchange.reading import read

__all__ = ["Foreign", "read"]
