"""The loops of operations by themselves (see `single.py`), and what the numbers in them stand for."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations
from math import prod

from ..ir.dtype import real_dtype
from ..ir.graph import Graph
from ..ir.node import Node, Signature
from ..ir.primitive import placeholder
from .anchors import Common, builders
from .complexes import split_complex
from .contraction import as_loops
from .elementwise import elementwise
from .loops import Kernel
from .lower import Lowering
from .single import Filling


def single_kernel(sig: Signature) -> Kernel:
    """The kernel of such an operation, on operands of sizes that stand for others.

    As the planner makes it, down to the names: then its generic kernels and these are the same code on disk.
    """
    inputs = [placeholder(a) for a in sig.inputs]
    graph = split_complex(Graph(inputs, [Node(sig, tuple(inputs), None, 0, None)]))
    (root,) = graph.outputs
    lowering = Lowering({n: k for k, n in enumerate(graph.inputs)}, {})
    types = tuple([real_dtype(a.dtype) for a in sig.inputs])
    builder = as_loops if sig.prim.name == "dot_general" else builders.get(root.prim.name)
    if builder is not None:
        return builder(Common("single", root, root, lowering, types))
    return elementwise(Common("single", root, None, lowering, types), [root])


def fillings(numbers: Iterable[int], stands: tuple[int, ...]) -> list[Filling]:
    """What the numbers of a kernel are that was written for sizes that stand for others."""
    positions = range(len(stands))
    known = {
        sign * prod([stands[i] for i in some]): Filling(sign, some)
        for sign in (1, -1)
        for count in positions
        for some in combinations(positions, count + 1)
    }
    found = [known.get(n) or Filling(n, ()) for n in numbers]
    assert all(f.sizes or abs(f.number) < min(stands) for f in found), found
    return found
