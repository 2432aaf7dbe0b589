"""How good generated videos are: measures, and the evaluation of a run."""
