"""Checkpoints of other projects and libraries, in (``read``) and out (``write``, ``convert``)."""

from vit.weights.conversion import convert
from vit.weights.foreign import Foreign
from vit.weights.reading import read
from vit.weights.writing import FORMATS, Written, write

__all__ = ["FORMATS", "Foreign", "Written", "convert", "read", "write"]
