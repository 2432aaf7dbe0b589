"""Weights from elsewhere: the released code's checkpoints, and smaller models to grow from."""
