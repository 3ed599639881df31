"""What native programs leave to Python: LAPACK and FFT through NumPy, and loops around bodies
that need these.

A program is cut into segments at these steps; native code never calls back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...base.errors import IndexingError, NumericError
from ...ir.graph import Graph
from ...ir.node import Node, Signature
from ...runtime.buffer import Buffer
from ..reference.interpreter import LOWERINGS

#: Dense factorisations and Fourier transforms: libraries that no generated loop beats.
LIBRARY = (
    "cholesky", "qr", "svd", "svdvals", "eigh", "eigvalsh", "eig", "eigvals", "solve", "triangular_solve", "inv", "det",
    "slogdet", "cofactors", "pinv", "fft", "rfft", "irfft",
)  # fmt: skip

#: Loops and branches whose bodies have something for the host: then the bodies are compiled programs of their own, and
#: the turns are made here. Calls that are left are those that must stay whole, what a checkpoint computes again.
CONTROL = ("scan", "cond", "while_loop", "call")


#: Rarely used on complex numbers, and delicate at their branch cuts: NumPy's functions.
COMPLEX = (
    "sign", "pow", "rsqrt", "expm1", "log1p", "log2", "log10", "tan", "tanh", "asin", "acos", "atan", "asinh",
    "acosh", "atanh", "prod", "cumprod", "linear_recurrence", "bitcast",
)  # fmt: skip


#: Primitives declared elsewhere that are left to their NumPy bodies, with the reason.
left: dict[str, str] = {}


def leave_to_host(name: str, reason: str) -> None:
    """Declare that the primitive `name` has no native code, and why not: its NumPy body computes it, in between."""
    left[name] = reason


def on_host(sig: Signature) -> bool:
    """Whether an operation is left to Python on purpose."""
    name = sig.prim.name
    if name in COMPLEX and sig.is_complex:
        return True
    return name in left or name in LIBRARY or name in CONTROL


def evaluate(node: Node, arrays: Sequence[np.ndarray]) -> Any:
    """The result of such a node: an array, or several."""
    prim = node.prim
    try:
        if prim.name in CONTROL:
            return LOWERINGS[prim.name](body_of, node, list(arrays))
        return prim.evaluate(*arrays, **node.attrs)
    except np.linalg.LinAlgError as e:
        raise NumericError(f"{prim.name}: {e}") from None
    except IndexError as e:
        raise IndexingError(f"{prim.name}: {e}") from None


def body_of(graph: Graph) -> Callable[[Sequence[np.ndarray]], list[np.ndarray]]:
    """A sub-graph as a function of arrays, compiled once and kept on the graph."""
    found = graph.memo.get("cpu")
    if found is None:
        from .backend import CpuBackend

        program = CpuBackend().compile(graph)

        def run(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
            return [b.array for b in program.run([Buffer(np.ascontiguousarray(a)) for a in arrays])]

        found = graph.memo["cpu"] = run
    return found
