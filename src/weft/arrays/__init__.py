"""Floor 6: tensors over the graph, the array-API namespace, and the user-facing transformations."""

from ..backends import cpu, reference  # noqa: F401  (a backend registers itself)
