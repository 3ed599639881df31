"""Floor 1: the words of the graph: dtypes, shapes, nodes, primitives, and walks over them."""
