"""The errors that Weft raises."""

from .base.errors import *  # noqa: F403
from .base.errors import __all__  # noqa: F401
