"""Results of calls that nobody reads."""

from __future__ import annotations

from passes_shared import arrays_for, bits, unread_result
from weft.ir.graph import verify
from weft.passes.dead import remove_dead


def test_dead_results_of_calls_are_not_computed():
    graph = unread_result()
    after = remove_dead(graph)
    (node,) = [n for n in after.nodes if n.prim.name == "call"]
    assert len(node.attrs["body"].outputs) == 1
    verify(after)
    assert bits(after, arrays_for(graph)) == bits(graph, arrays_for(graph))
    assert remove_dead(after) is after
