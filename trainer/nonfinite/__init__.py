"""Losses, gradients and inputs that are no numbers: found without waiting, judged together, dumped."""
