"""Video files: which names are theirs, what is in them, and their frames by number, exactly."""
