"""Video files: which names are theirs, and their frames."""
