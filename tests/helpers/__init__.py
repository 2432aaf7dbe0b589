"""What several tests need: small models, runs and data, a pretended card, what "the same" means, where files are."""
