"""Which of two runs' videos people prefer: a blind page of pairs, and what their votes say."""
