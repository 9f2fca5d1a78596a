"""Only what a loss over some nodes depends on: the rows of each level, and layers from one level to the next."""
