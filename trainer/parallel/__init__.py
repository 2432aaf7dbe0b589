"""Several processes: who they are, how they agree, how gradients become their mean; trainings side by side."""
