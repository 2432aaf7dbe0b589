"""What other libraries call the tensors of a ViT: one file a library, and what files put before and beside them."""
