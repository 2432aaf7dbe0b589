"""Several processes: who they are, how they agree, and how gradients become the mean over all of them; trainings, each in its own."""
