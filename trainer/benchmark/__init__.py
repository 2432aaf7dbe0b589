"""What `make gpu` and the benchmarks measure with: the machine, sections in processes of their own, real runs."""
