"""Floor 4: what runs programs: buffers, the backend protocol, the executor and its program cache."""
