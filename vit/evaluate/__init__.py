"""How good a classifier is: scores, features, pictures, and the evaluation of a run or a file."""
