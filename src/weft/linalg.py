"""Linear algebra: the array API's `linalg` extension, and eigenvalues of general matrices."""

from .arrays.linalg import *  # noqa: F403
from .arrays.linalg import __all__  # noqa: F401
