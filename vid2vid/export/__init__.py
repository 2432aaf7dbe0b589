"""A trained generator as a file that runs without this package. Importing this loads no torch."""
