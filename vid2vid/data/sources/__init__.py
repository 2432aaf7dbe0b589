"""Pictures as condition: which there are side by side (`data.sources`), and how each is drawn for a frame's crop."""
