"""A trained classifier as a file that runs without this package. Importing this loads no torch."""

from enum import Enum


class Format(Enum):
    onnx = "onnx"
    torch_export = "torch_export"
