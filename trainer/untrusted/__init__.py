"""Files that may be anybody's: what is read of them, how much at most, and how their words are shown."""
