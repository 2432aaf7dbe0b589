"""Answers for pictures without labels, and the files that they are written to."""
