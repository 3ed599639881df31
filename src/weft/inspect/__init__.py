"""Floor 8: looking at programs: pictures, kernels, how much work they are, and where the time goes."""

from .count import Count, count
from .draw import Drawing, draw
from .kernels import KernelRow, Kernels, kernels
from .profiler import Profile, ProfileRow, profile

__all__ = [
    "Count",
    "Drawing",
    "KernelRow",
    "Kernels",
    "Profile",
    "ProfileRow",
    "count",
    "draw",
    "kernels",
    "profile",
]
