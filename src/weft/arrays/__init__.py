"""Floor 6: tensors over the graph, the array-API namespace, and the user-facing transformations."""

from ..backends.reference import ReferenceBackend
from ..runtime.backend import register_backend

register_backend("reference", ReferenceBackend)
