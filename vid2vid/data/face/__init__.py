"""Faces as condition: 68 landmarks in, curves and the distance to each of them out (the paper's edge2face)."""
