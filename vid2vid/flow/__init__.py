"""Optical flow: estimated, and kept on disk."""
