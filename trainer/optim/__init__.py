"""Optimisers and averaged weights."""
