"""Networks as files for others: the kinds of files. Importing this loads no torch."""

from enum import Enum


class Format(Enum):
    onnx = "onnx"
    torch_export = "torch_export"
    folder = "folder"  # weights, settings and a card, for other programs in Python
