"""What a run computes on: device and precision, memory that is free or used, the processor's name, a clock."""
