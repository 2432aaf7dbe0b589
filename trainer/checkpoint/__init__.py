"""A run on disk: folders of checkpoints, exact tensors, weights and what they fit, the best one.

The exact state is written by torch.distributed.checkpoint, not by ``torch.save``: ``tensors.py`` says why.
"""
