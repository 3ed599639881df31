"""Random tensors, and the generators they are drawn from."""

from .arrays.random import *  # noqa: F403
from .arrays.random import __all__  # noqa: F401
