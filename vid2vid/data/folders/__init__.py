"""Clips whose frames are files in folders: which files are one frame, in which order, and their decoding."""
