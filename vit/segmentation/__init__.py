"""Semantic segmentation: a class for every pixel, by a decoder on a plain ViT (SETR, Zheng et al. 2021)."""
