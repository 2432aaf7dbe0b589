"""Experiments on a trained classifier, one module each."""
