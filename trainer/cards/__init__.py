"""A model's card: what it is, what it learnt from and how, what it measured. Loads no torch."""
