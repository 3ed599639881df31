"""The reference backend: every primitive's own NumPy body, node by node. It defines what is right."""

from .interpreter import ReferenceBackend

__all__ = ["ReferenceBackend"]
