"""Label maps: ids out of files of every form, what may occur among them, and colours for them."""
