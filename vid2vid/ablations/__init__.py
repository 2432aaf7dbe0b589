"""The paper's ablations on the built-in street: variants trained and measured alike, over several seeds."""
