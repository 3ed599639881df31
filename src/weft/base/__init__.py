"""Floor 0: errors, flags, nested containers, source positions. Nothing here knows about tensors."""
