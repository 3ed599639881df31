"""Floor 5: the ways to run a graph."""
