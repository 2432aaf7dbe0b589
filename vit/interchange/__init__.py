"""Checkpoints of other projects and libraries, in (``read``) and out (``write``, ``convert``)."""

from vit.interchange.conversion import convert
from vit.interchange.foreign import Foreign
from vit.interchange.reading import read
from vit.interchange.writing import FORMATS, Written, write

__all__ = ["FORMATS", "Foreign", "Written", "convert", "read", "write"]
