"""What machines do to a run, done on purpose: every fault again and again, against a run that nothing disturbed."""
