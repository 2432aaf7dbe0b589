"""Masked autoencoders: a ViT learns from pictures without labels, by filling in what is masked (He et al., 2021)."""
