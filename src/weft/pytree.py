"""Nested containers of tensors."""

from .base.pytree import *  # noqa: F403
from .base.pytree import __all__  # noqa: F401
