"""Checkpoints of the original, and smaller models as a start."""
