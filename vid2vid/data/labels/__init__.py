"""Label maps: ids out of files of every form, and what may occur among them."""
