"""Floor 8: looking at programs: pictures of graphs, how much work they are, and where the time goes."""

from .count import Count, count
from .draw import Drawing, draw
from .profiler import Profile, ProfileRow, profile

__all__ = ["Count", "Drawing", "Profile", "ProfileRow", "count", "draw", "profile"]
