"""The built-in street: a procedural world with exact flow, depth and labels."""
