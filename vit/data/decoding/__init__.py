"""Bytes to pixels: whole pictures, parts of JPEGs, on the card."""
