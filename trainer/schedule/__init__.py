"""When what happens: stages, rates, durations, evaluation and checkpoints."""
