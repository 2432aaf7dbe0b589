"""What a run leaves to look at: log, metrics, curves, pictures, videos, profiles, comparisons."""
