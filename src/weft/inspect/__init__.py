"""Floor 8: looking at programs: pictures of graphs, and how much work they are."""

from .count import Count, count
from .draw import Drawing, draw

__all__ = ["Count", "Drawing", "count", "draw"]
