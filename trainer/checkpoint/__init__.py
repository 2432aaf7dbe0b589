"""A run on disk: folders of checkpoints, exact tensors, weights and what they fit, the best one."""
