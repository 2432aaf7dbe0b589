"""Films as data: frames of any place, times, cuts, caches."""
