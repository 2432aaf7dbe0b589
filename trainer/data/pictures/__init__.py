"""Pictures in files, the same for every task: which they are, what they hold, and what is done about bad ones."""
