"""Floor 10: the command `weft`."""

from .command import main

__all__ = ["main"]
