"""Speed of training steps and of the data path."""
