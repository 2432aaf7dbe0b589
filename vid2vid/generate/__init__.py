"""Videos from a trained generator: label maps in, frames out."""
