"""A small segmenter of the data's own classes: trained on real frames, it reads what generated frames show."""
