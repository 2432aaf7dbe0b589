"""Classifiers of timm: built, filled with weights of any file, and what their files tell."""
