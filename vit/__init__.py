"""Plain Vision Transformers, and any timm classifier, on the shared trainer: models, data, recipes, checkpoints.

Importing the package loads no torch.
"""
