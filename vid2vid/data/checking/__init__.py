"""A look at a whole data set of clips: what is found, what is advised, and a sheet of its frames."""
