"""Video files as data: their frames by number, times, cuts, indices on disk."""
