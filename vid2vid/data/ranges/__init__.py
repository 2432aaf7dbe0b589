"""data.range: which values of pictures of more than 8 bits are black and white."""
