"""The k best elements as one node."""

from __future__ import annotations

import numpy as np

from composites import Case, composite_tests, spread
from weft.ops.composite.order import topk

X = spread(3, 7)


def _torch(k, axis, largest):
    return lambda x: x.topk(k, axis, largest)


CASES = [
    Case("topk", lambda x: topk(x, k=2, axis=1, largest=True), (X,), _torch(2, 1, True)),
    Case("topk", lambda x: topk(x, k=3, axis=0, largest=False), (X,), _torch(3, 0, False), label="least"),
    Case("topk", lambda x: topk(x, k=20, axis=0, largest=True), (spread(24),), _torch(20, 0, True), label="many"),
    Case("topk", lambda x: topk(x, k=0, axis=1, largest=True), (X,), _torch(0, 1, True), label="none"),
    Case("topk", lambda x: topk(x, k=2, axis=0, largest=True), (np.array([3, 1, 4, 1, 5]),), _torch(2, 0, True),
         label="integers", smooth=False, narrow=False),
]  # fmt: skip

test_torch, test_derivatives, test_own_rule, test_batching, test_bfloat16 = composite_tests(CASES)
