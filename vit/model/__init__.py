"""The vision transformer: architecture, layers, positions, initialisation, cost."""
