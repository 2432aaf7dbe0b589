"""The shared trainer: one loop, phases, segments, stages. It knows no model (tests/test_architecture.py holds this).

This file imports nothing, so that ``train.py --help`` and configuration errors answer without loading torch.
"""

__version__ = "0.2.0"  # of vivid; pyproject.toml reads it here, CITATION.cff and CHANGELOG.md repeat it
