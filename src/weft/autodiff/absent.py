"""Backward graphs for cotangents that are not there: what is known to be zero is left out, not multiplied through."""

from __future__ import annotations

from collections.abc import Sequence

from ..base.state import isolated, state
from ..ir.graph import Graph, fresh_inputs
from ..ir.node import GRAD, Node, make_node
from ..ir.primitive import Primitive, pick, pick_prim, results
from ..ops.arithmetic import add, div, mul, neg, sub
from ..ops.control import call
from ..ops.movement import broadcast_to, zeros

Need = tuple[bool, ...]
Maybe = Node | None


def without(graph: Graph, zero: Need) -> tuple[Graph, Need]:
    """`graph` as a function of the inputs that are not marked as `zero`, and which of its results are not zero then.

    The graph returned has those results alone.
    """
    key = ("without", zero)
    found = graph.memo.get(key)
    if found is None:
        with isolated():
            inputs = fresh_inputs([a for a, z in zip(graph.in_avals, zero, strict=True) if not z])
            given = iter(inputs)
            outs = _run(graph, [None if z else next(given) for z in zero])
            found = Graph(inputs, [o for o in outs if o is not None]), tuple([o is not None for o in outs])
        graph.memo[key] = found
    return found


def _run(graph: Graph, args: Sequence[Maybe]) -> list[Maybe]:
    env: dict[Node, Maybe] = dict(zip(graph.inputs, args, strict=True))
    several: dict[Node, Sequence[Maybe]] = {}  # the results of calls that were specialised
    for node in graph.nodes:
        if node.value is not None:
            env[node] = None if _is_zero(node) else node
        elif node.prim is pick_prim and node.args[0] in several:
            env[node] = several[node.args[0]][node.attrs["index"]]
        else:
            given = [env[a] for a in node.args]
            if node.prim is call and node.attrs["rule"] is None and None in given:
                outs = _called(node, given)
                if type(node.sig.out) is tuple:
                    several[node] = outs
                    env[node] = None
                else:
                    env[node] = outs[0]
            else:
                env[node] = _apply(node, given)
    return [env[o] for o in graph.outputs]


def _is_zero(node: Node) -> bool:
    number = isinstance(node.value, (int, float, complex))
    return number and node.value == 0 and node.dtype.inexact


def _called(node: Node, args: Sequence[Maybe]) -> list[Maybe]:
    body, present = without(node.attrs["body"], tuple([a is None for a in args]))
    if not body.outputs:
        return [None] * len(present)
    made = call.bind(tuple([a for a in args if a is not None]), (node.attrs["name"], body, None))
    given = iter(results(made))
    return [next(given) if p else None for p in present]


def _apply(node: Node, args: Sequence[Maybe]) -> Maybe:
    """`node` on other arguments, None where it is zero."""
    if None in args:
        if _vanishes(node.prim, args):
            return None
        if node.prim is add or (node.prim is sub and args[1] is None):
            rest = args[0] if args[1] is None else args[1]
            return None if rest is None else broadcast_to(rest, node.shape)
        if node.prim is sub:
            return broadcast_to(neg(args[1]), node.shape)
    full = tuple([zeros(old.aval) if a is None else a for old, a in zip(node.args, args, strict=True)])
    new = pick(full[0], node.attrs["index"]) if node.prim is pick_prim else make_node(node.sig, full)
    if not node.flags & GRAD:
        new.flags &= state.tracing
    return new


def _vanishes(prim: Primitive, args: Sequence[Maybe]) -> bool:
    """Whether the result is zero for arguments of which some are."""
    if prim is mul:
        return True
    if prim is neg or prim is div:
        return args[0] is None
    if prim.transpose_rule is None:
        return False
    linear = prim.linear_in or range(len(args))
    if prim.multilinear:
        return any(args[i] is None for i in linear)
    return all(args[i] is None for i in linear)
