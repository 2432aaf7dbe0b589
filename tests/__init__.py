"""The tests: below trainer, vit and vid2vid a mirror of the packages; helpers hold what several of them need."""
