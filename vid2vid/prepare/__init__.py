"""A data set out of bare footage: frames, and what is found in each of them."""
