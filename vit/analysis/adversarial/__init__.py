"""Attacks: perturbations and patches that mislead, and whether gradients tell the truth."""
