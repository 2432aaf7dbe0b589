"""Speed of a training window and of generation."""
