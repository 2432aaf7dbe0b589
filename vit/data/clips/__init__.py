"""Clips: which of their frames are looked at, where they come from, and samples of them."""
