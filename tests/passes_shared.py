"""Graphs for tests of passes, and what they come to, bit by bit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from weft.backends.reference.interpreter import Interpreter
from weft.ir.dtype import float32
from weft.ir.graph import Graph, trace_graph
from weft.ir.node import Aval
from weft.ops.composite.define import Composite
from weft.ops.movement import identity
from weft.ops.reduce import sum_

V = Aval((4,), float32)
M = Aval((3, 4), float32)
SQUARE = Aval((4, 4), float32)


def _inner(x, w):
    """x @ w, and a number nobody may want."""
    return x @ w, sum_(x * x, axes=(0, 1))


def _outer(x, w):
    """Calls a composite with two results and uses one of them."""
    y, _ = INNER(x, w)
    return y * 1 + identity(y)


INNER = Composite(_inner, "test_inner")
OUTER = Composite(_outer, "test_outer")


def calls() -> Graph:
    """A call in whose body is another, one result of which nobody reads."""
    return trace_graph(lambda x, w: OUTER(x, w) / 2, (M, SQUARE))


def unread_result() -> Graph:
    """A call with two results, one of which nobody reads."""
    return trace_graph(lambda x, w: INNER(x, w)[0], (M, SQUARE))


def bits(graph: Graph, arrays: Sequence[np.ndarray]) -> list[bytes]:
    """The bytes of the results, computed by the reference."""
    with np.errstate(all="ignore"):
        return [np.asarray(o).tobytes() for o in Interpreter(graph).evaluate(arrays)]


def arrays_for(graph: Graph, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=a.shape).astype(a.dtype.numpy) for a in graph.in_avals]
