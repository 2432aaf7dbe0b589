"""The Video tab of the page: label maps painted, moved or taken from clips, and videos made of them."""
