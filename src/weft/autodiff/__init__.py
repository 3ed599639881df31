"""Floor 3: forward mode, reverse mode and batching, each a transformation of graphs."""
