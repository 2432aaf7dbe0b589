"""What a run computes on: device and precision, fast paths, memory that is free or used, the processor, a clock."""
