"""Checkpoints of other projects and libraries, in (``reading``) and out (``writing``, ``conversion``).

Importing this loads no torch.
"""

FORMATS = ("npz", "timm", "hf", "torchvision", "safetensors")  # that can be written
