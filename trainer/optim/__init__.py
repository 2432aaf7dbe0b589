"""Optimisers, averaged weights, precision."""
