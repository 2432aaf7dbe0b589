"""What is tried before a run: the dry run, a first step, the micro-batch that fits, a budget of time; and replays."""
