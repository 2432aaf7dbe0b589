"""What the networks minimise: the terms of the losses, and VGG-19 for the perceptual one."""
