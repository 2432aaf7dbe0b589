"""People as condition: skeletons and DensePose maps drawn for a crop, and one person's motion given to another."""
