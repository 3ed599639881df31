"""The transformations of whole graphs, cached on the graph: derivative pairs, tangent graphs, batched graphs.

Primitives with sub-graphs receive this module as `ad`. A composite's `call` node is differentiated here: reverse
mode splits its body once per signature into a forward graph that also returns what the backward graph will need
(the residuals), and a backward graph, each called as one node.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..base.errors import GradientError
from ..base.state import isolated
from ..ir.graph import Graph, extract, fresh_inputs, instantiate, rebuild, toposort
from ..ir.node import GRAD, Aval, Node, Signature, make_node
from ..ir.primitive import pick, results
from ..ops.control import call
from ..ops.movement import zeros
from .batching import batch_nodes, spread
from .forward import pushforward
from .reverse import pullback

__all__ = ["Graph", "batch_graph", "fresh_inputs", "instantiate", "jvp_graph", "vjp_pair", "zeros"]

Need = tuple[bool, ...]


@dataclass(frozen=True, eq=False)
class Pair:
    """A body split for reverse mode.

    `forward` returns the body's own results, then the residuals. `backward` takes the forward arguments and
    results listed in `reads` ((True, i): argument i; (False, i): result i of `forward`), then one cotangent per
    inexact result of the body, and returns a cotangent for each needed argument listed in `found`.
    """

    forward: Graph
    backward: Graph
    reads: tuple[tuple[bool, int], ...]
    found: tuple[int, ...]
    results: int  #: how many results the body itself has

    def __repr__(self) -> str:
        return f"<pair, {len(self.forward.outputs) - self.results} residuals>"


def vjp_pair(body: Graph, need: Need, rule: Any = None, *, remat: bool = False) -> Pair:
    """The forward/backward pair of `body` for the cotangents of the arguments marked in `need`.

    With `remat` nothing but the arguments is kept: the backward graph computes the rest again.
    """
    key = ("vjp", need, rule, remat)
    pair = body.memo.get(key)
    if pair is None:
        with isolated():
            pair = body.memo[key] = _split(body, need, rule, remat)
    return pair


def _split(body: Graph, need: Need, rule: Any, remat: bool) -> Pair:
    if hasattr(rule, "pair"):
        return rule.pair(body, need)
    args = fresh_inputs(body.in_avals)
    own = getattr(rule, "vjp", None)
    outs = instantiate(body, args, rebuild if own is not None else _rebuild_differentiably)
    cts = [_cotangent(o.aval) for o in outs]
    wanted = [a for a, n in zip(args, need, strict=True) if n]
    if own is not None:
        pulled = list(own(cts, outs, *args))
        grads = {i: g for i, g in enumerate(pulled) if g is not None and need[i]}
    else:
        live = [(o, c) for o, c in zip(outs, cts, strict=True) if c is not None]
        pulled = pullback([o for o, _ in live], [c for _, c in live], wanted, GRAD)
        index = [i for i, n in enumerate(need) if n]
        grads = {i: g for i, g in zip(index, pulled, strict=True) if g is not None}
    given = [c for c in cts if c is not None]
    forward = set(toposort([*outs, *args]))
    cuts, residuals = _reads(list(grads.values()), forward, args, outs, remat)
    position = {n: (False, i) for i, n in reversed(list(enumerate([*outs, *residuals])))}
    position.update({n: (True, i) for i, n in enumerate(args)})
    return Pair(
        forward=Graph(args, [*outs, *residuals]),
        backward=extract(list(grads.values()), [*cuts, *given]),
        reads=tuple([position[c] for c in cuts]),
        found=tuple(grads),
        results=len(outs),
    )


def _cotangent(aval: Aval) -> Node | None:
    return fresh_inputs([aval])[0] if aval.dtype.inexact else None


def _reads(
    grads: Sequence[Node], forward: set[Node], args: Sequence[Node], outs: Sequence[Node], remat: bool
) -> tuple[list[Node], list[Node]]:
    """Where the backward nodes read forward ones, and which of those must become residuals.

    Movement, constants and (under `remat`) everything that is not an argument is computed again instead.
    """
    available = set(args) if remat else {*args, *outs}
    cuts: list[Node] = []
    residuals: list[Node] = []

    def follow(node: Node) -> Sequence[Node]:
        if node not in forward:
            return node.args
        if node in available or not (remat or node.prim.movement or type(node.sig.out) is tuple):
            return ()
        return node.args

    for node in toposort(grads, follow):
        if node not in forward or node.value is not None:
            continue
        if node in available:
            cuts.append(node)
        elif not (remat or node.prim.movement or type(node.sig.out) is tuple):
            cuts.append(node)
            residuals.append(node)
    return cuts, residuals


def _rebuild_differentiably(node: Node, args: tuple[Node, ...]) -> Node:
    """Like `rebuild`, but calls that will be differentiated return their residuals from the start."""
    if node.sig.prim is call and node.flags & GRAD:
        need = tuple([bool(a.flags & GRAD) for a in args])
        new = make_node(with_residuals(node.sig, need), args)
        return pick(new, 0) if type(new.sig.out) is tuple and type(node.sig.out) is not tuple else new
    return rebuild(node, args)


class Residuals:
    """The rule of a call that returns its residuals already; interned with its pair."""

    __slots__ = ("pair_", "need", "inner")

    def __init__(self, pair: Pair, need: Need, inner: Any) -> None:
        self.pair_ = pair
        self.need = need
        self.inner = inner

    def __repr__(self) -> str:
        return "residuals"


def with_residuals(sig: Signature, need: Need) -> Signature:
    """The signature of a call whose node returns, after its own results, what reverse mode will read."""
    found = sig.memo.get(need)
    if found is None:
        name, body, rule = sig.attrs["name"], sig.attrs["body"], sig.attrs["rule"]
        if isinstance(rule, Residuals):
            return sig
        pair = vjp_pair(body, need, rule, remat=getattr(rule, "remat", False))
        found = call.signature(sig.inputs, (name, pair.forward, Residuals(pair, need, rule)))
        # One result becomes a tuple of several; a caller that expects one picks the first.
        sig.memo[need] = found
    return found


def call_vjp(
    cts: Sequence[Node | None],
    outs: Sequence[Node],
    args: Sequence[Node],
    name: str,
    body: Graph,
    rule: Any,
    need: Need,
) -> list[Node | None]:
    """Reverse mode through a `call` node."""
    saved = isinstance(rule, Residuals) and all(r or not n for r, n in zip(rule.need, need, strict=True))
    if saved and not any(c is not None for c in cts[rule.pair_.results :]):
        pair, results_ = rule.pair_, outs
    else:
        # The residuals are not there (or are differentiated themselves, for a second derivative): run again.
        if isinstance(rule, Residuals):
            rule = None
        pair = vjp_pair(body, need, rule, remat=getattr(rule, "remat", False))
        results_ = outs
        if len(pair.forward.outputs) > len(outs):
            sig = call.signature(pair.forward.in_avals, (name, pair.forward, Residuals(pair, need, rule)))
            results_ = results(make_node(sig, tuple(args)))
    given = [
        c if c is not None else zeros(o.aval)
        for c, o in zip(cts[: pair.results], outs[: pair.results], strict=True)
        if o.dtype.inexact
    ]
    out: list[Node | None] = [None] * len(args)
    if not pair.found:
        return out
    inputs = [args[i] if is_arg else results_[i] for is_arg, i in pair.reads]
    sig = call.signature(pair.backward.in_avals, (name + ".vjp", pair.backward, None))
    for i, found in zip(pair.found, results(make_node(sig, (*inputs, *given))), strict=True):
        out[i] = found if need[i] else None
    return out


def jvp_graph(body: Graph, moving: Need) -> tuple[Graph, Need]:
    """The graph from (arguments, tangents of the marked arguments) to the tangents of the results.

    Also returns which results have a tangent at all.
    """
    key = ("jvp", moving)
    found = body.memo.get(key)
    if found is None:
        with isolated():
            args = fresh_inputs(body.in_avals)
            tangents = fresh_inputs([a.aval for a, m in zip(args, moving, strict=True) if m])
            outs = instantiate(body, args)
            pushed = pushforward(outs, [a for a, m in zip(args, moving, strict=True) if m], tangents, GRAD)
            graph = Graph([*args, *tangents], [p for p in pushed if p is not None])
            found = body.memo[key] = graph, tuple([p is not None for p in pushed])
    return found


def call_jvp(
    tangents: Sequence[Node | None],
    outs: Sequence[Node],
    args: Sequence[Node],
    name: str,
    body: Graph,
    rule: Any,
) -> list[Node | None]:
    """Forward mode through a `call` node."""
    if hasattr(rule, "jvp"):
        return rule.jvp(tangents, outs, *args)
    graph, present = jvp_graph(body, tuple([t is not None for t in tangents]))
    if not any(present):
        return [None] * len(outs)
    sig = call.signature(graph.in_avals, (name + ".jvp", graph, None))
    found = iter(results(make_node(sig, (*args, *[t for t in tangents if t is not None]))))
    return [next(found) if p else None for p in present]


def batch_graph(body: Graph, batched: Need, size: int, keep: Need | None = None) -> Graph:
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


def batched_results(body: Graph, batched: Need) -> Need:
    """Which results of `body` depend on the marked arguments."""
    moving = {n for n, b in zip(body.inputs, batched, strict=True) if b}
    for node in body.nodes:
        if any(a in moving for a in node.args):
            moving.add(node)
    return tuple([o in moving for o in body.outputs])


def call_batch(
    size: int, batched: Need, args: Sequence[Node], name: str, body: Graph, rule: Any
) -> tuple[Node, ...]:
    """Batching of a `call` node."""
    graph = batch_graph(body, batched, size)
    sig = call.signature(graph.in_avals, (name, graph, None))
    return results(make_node(sig, tuple(args)))
