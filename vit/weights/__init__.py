"""Checkpoints of other projects and libraries, in (``read``) and out (``write``, ``convert``)."""

from vit.weights.convert import convert
from vit.weights.foreign import Foreign
from vit.weights.read import read
from vit.weights.write import FORMATS, Written, write

__all__ = ["FORMATS", "Foreign", "Written", "convert", "read", "write"]
