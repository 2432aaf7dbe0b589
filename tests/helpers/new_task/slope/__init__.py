"""A straight line through points: the smallest task there is. Copied into the repository by tests/test_new_task.py."""
