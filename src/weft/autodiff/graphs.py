"""Forward mode and batching of whole graphs, cached on the graph."""

from __future__ import annotations

from ..base.errors import GradientError
from ..base.state import isolated
from ..ir.graph import Graph, fresh_inputs, instantiate
from ..ir.node import GRAD, Aval
from ..ir.shape import Size
from .batching import batch_nodes, spread
from .forward import pushforward

Need = tuple[bool, ...]


def jvp_graph(body: Graph, moving: Need) -> tuple[Graph, Need]:
    """The graph from (arguments, tangents of the marked arguments) to the tangents of the results.

    Also returns which results have a tangent at all.
    """
    key = ("jvp", moving)
    found = body.memo.get(key)
    if found is None:
        with isolated():
            args = fresh_inputs(body.in_avals)
            marked = [a for a, m in zip(args, moving, strict=True) if m]
            tangents = fresh_inputs([a.aval for a in marked])
            outs = instantiate(body, args)
            pushed = pushforward(outs, marked, tangents, GRAD)
            graph = Graph([*args, *tangents], [p for p in pushed if p is not None])
            found = body.memo[key] = graph, tuple([p is not None for p in pushed])
    return found


def batch_graph(body: Graph, batched: Need, size: Size, keep: Need | None = None) -> Graph:
    """`body` for arguments of which those marked carry a batch axis at the front; every result carries it
    (or, if `keep` is given, only the results marked there must, and the others must not)."""
    key = ("batch", batched, size, keep)
    found = body.memo.get(key)
    if found is None:
        with isolated():
            plain = fresh_inputs(body.in_avals)
            many = fresh_inputs(
                [
                    Aval((size, *a.shape), a.dtype) if b else a
                    for a, b in zip(body.in_avals, batched, strict=True)
                ]
            )
            outs = instantiate(body, [p if b else m for p, m, b in zip(plain, many, batched, strict=True)])
            mapped = [(p, m) for p, m, b in zip(plain, many, batched, strict=True) if b]
            pairs = batch_nodes(outs, [p for p, _ in mapped], [m for _, m in mapped], size)
            final = []
            for i, (node, carries) in enumerate(pairs):
                wanted = keep is None or keep[i]
                if carries and not wanted:
                    raise GradientError(f"result {i} depends on the batch axis")
                final.append(spread(node, size) if wanted and not carries else node)
            found = body.memo[key] = Graph(many, final)
    return found


def dependent_results(body: Graph, marked: Need, *, differentiably: bool = False) -> Need:
    """Which results of `body` depend on the marked arguments (by a path that a derivative follows)."""
    moving = {n for n, b in zip(body.inputs, marked, strict=True) if b}
    for node in body.nodes:
        if any(a in moving for a in node.args) and (node.flags & GRAD or not differentiably):
            moving.add(node)
    return tuple([o in moving for o in body.outputs])
