"""From words to a configuration: dataclasses with all defaults, types, Hydra's errors in our words, help, sweeps."""
