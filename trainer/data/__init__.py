"""From samples to batches on the device: order, loaders, workers, micro-batches."""
