"""Order: the best elements along an axis, one node for the dozens of operations that find them."""

from __future__ import annotations

from ..sorting import top_k
from .define import composite


@composite
def topk(x, *, k, axis, largest):
    """The k largest (or smallest) elements along `axis`, best first, and their indices."""
    return top_k(x, k, axis, largest=largest)
