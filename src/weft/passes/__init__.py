"""Floor 3: transformations of graphs that keep their meaning, on the way to a backend."""
