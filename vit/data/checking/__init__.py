"""A look at a whole data set of a classifier: counts, sizes, files that cannot be used, a sheet of its pictures."""
