"""How things look: vectors of instances, their mixtures of Gaussians, and who has which (the paper's section 3)."""
