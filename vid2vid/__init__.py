"""Video-to-Video Synthesis (Wang et al., NeurIPS 2018, arXiv 1808.06601) on the shared trainer.

This file imports nothing, so that ``train.py --help`` and configuration errors answer without loading torch.
"""
