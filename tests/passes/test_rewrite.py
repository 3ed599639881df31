"""The walk that passes share."""

from __future__ import annotations

from passes_shared import V
from weft.ir.graph import trace_graph
from weft.ops.elementwise import neg
from weft.ops.reduce import sum_
from weft.passes.rewrite import rewrite


def test_a_rule_for_some_operations_sees_these_alone():
    graph = trace_graph(lambda x: neg(sum_(neg(x * x), axes=(0,))), [V])
    seen = []

    def see(old, args):
        seen.append(old.prim.name)
        return args[0] if old.prim is neg else None

    out = rewrite(graph, see, ("neg", "exp"))
    assert seen == ["neg", "neg"]
    assert [n.prim.name for n in out.nodes] == ["mul", "sum"]
    assert out.nodes[0] is graph.nodes[0]  # before all that changes
    assert rewrite(graph, see, ("exp",)) is graph and len(seen) == 2
