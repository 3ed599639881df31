"""What is the same is computed once."""

from __future__ import annotations

from passes_shared import V
from weft.ir.dtype import float32
from weft.ir.graph import trace_graph
from weft.ops.define import constant
from weft.ops.movement import pad
from weft.passes.cse import eliminate_common


def test_common_subexpressions_are_merged():
    graph = trace_graph(lambda x: (x * x) + (x * x), (V,))
    assert len(graph.nodes) == 3 and len(eliminate_common(graph).nodes) == 2


def test_the_same_border_is_made_once():
    def padded(x, fill):
        return pad(x, constant(fill, float32), low=(1,), high=(2,), interior=(0,))

    for second, count in ((0.0, 1), (-0.0, 2), (1.0, 2)):
        graph = trace_graph(lambda x, second=second: padded(x, 0.0) + padded(x, second), (V,))
        assert len([n for n in eliminate_common(graph).nodes if n.prim.name == "pad"]) == count
