"""Parts of pictures that are taken away, and what is left of the answers."""
