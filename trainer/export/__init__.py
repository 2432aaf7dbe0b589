"""Networks as files that run without this package: the kinds of files. Importing this loads no torch."""

from enum import Enum


class Format(Enum):
    onnx = "onnx"
    torch_export = "torch_export"
