"""Reverse mode of whole graphs: a body split into a forward graph that also returns residuals, and a backward graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..base.state import isolated
from ..ir.graph import Graph, extract, fresh_inputs, instantiate, rebuild, toposort
from ..ir.node import GRAD, Node
from ..ir.primitive import pick_prim
from ..ir.shape import Size
from ..ops.reduce import sum_
from .graphs import batch_graph
from .reverse import pullback
from .saved import rebuild_saving

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


def vjp_pair(body: Graph, need: Need, rule: Any = None) -> Pair:
    """The forward/backward pair of `body` for the cotangents of the arguments marked in `need`.

    `rule` may have a `pair(body, need)` or a `vjp(cts, outs, *args)` of its own, or `remat` set: then nothing but
    the arguments is kept and the backward graph computes the rest again.
    """
    key = ("vjp", need, rule)
    pair = body.memo.get(key)
    if pair is None:
        with isolated():
            own = getattr(rule, "pair", None)
            pair = body.memo[key] = _split(body, need, rule) if own is None else own(body, need)
    return pair


def _split(body: Graph, need: Need, rule: Any) -> Pair:
    args = fresh_inputs(body.in_avals)
    own = getattr(rule, "vjp", None)
    outs = instantiate(body, args, rebuild if own is not None else rebuild_saving)
    cts = cotangents(outs)
    if own is not None:
        pulled = list(own(cts, outs, *args))
        grads = {i: g for i, g in enumerate(pulled) if g is not None and need[i]}
    else:
        grads = pull_needed(outs, cts, args, need)
    return make_pair(args, outs, cts, grads, remat=getattr(rule, "remat", False))


def cotangents(outs: Sequence[Node]) -> list[Node | None]:
    """A fresh input for the cotangent of every inexact node."""
    return [fresh_inputs([o.aval])[0] if o.dtype.inexact else None for o in outs]


def pull_needed(
    outs: Sequence[Node], cts: Sequence[Node | None], args: Sequence[Node], need: Need
) -> dict[int, Node]:
    """The cotangents of the needed arguments, by position, where there are any."""
    live = [(o, c) for o, c in zip(outs, cts, strict=True) if c is not None]
    index = [i for i, n in enumerate(need) if n]
    pulled = pullback([o for o, _ in live], [c for _, c in live], [args[i] for i in index], GRAD)
    return {i: g for i, g in zip(index, pulled, strict=True) if g is not None}


def make_pair(
    args: Sequence[Node],
    outs: Sequence[Node],
    cts: Sequence[Node | None],
    grads: dict[int, Node],
    *,
    remat: bool = False,
    kept: Sequence[Node] = (),
) -> Pair:
    """The pair for results `outs` of `args` and the cotangents `grads` of the arguments, both already as nodes.

    What `grads` reads of the nodes behind `outs` (and `kept`) becomes the residuals.
    """
    forward = set(toposort([*outs, *kept, *args]))
    cuts, residuals = _reads(list(grads.values()), forward, args, outs, remat)
    position = {_same(n): (False, i) for i, n in reversed(list(enumerate([*outs, *residuals])))}
    position.update({n: (True, i) for i, n in enumerate(args)})
    return Pair(
        forward=Graph(args, [*outs, *residuals]),
        backward=extract(list(grads.values()), [*cuts, *[c for c in cts if c is not None]]),
        reads=tuple([position[_same(c)] for c in cuts]),
        found=tuple(grads),
        results=len(outs),
    )


def _same(node: Node) -> Any:
    """What is equal for nodes that are the same value: each reverse rule picks the results that it reads anew."""
    return (node.args[0], node.attrs["index"]) if node.prim is pick_prim else node


def _reads(
    grads: Sequence[Node], forward: set[Node], args: Sequence[Node], outs: Sequence[Node], remat: bool
) -> tuple[list[Node], list[Node]]:
    """Where the backward nodes read forward ones, and which of those must become residuals.

    Movement, constants and (under `remat`) everything that is not an argument is computed again instead.
    """
    available = {_same(n) for n in (args if remat else (*args, *outs))}
    cuts: list[Node] = []
    residuals: list[Node] = []
    kept: set[Any] = set()

    def redone(node: Node) -> bool:
        return remat or node.prim.movement or type(node.sig.out) is tuple

    def before(node: Node) -> bool:
        return node in forward or (node.prim is pick_prim and node.args[0] in forward)

    def follow(node: Node) -> Sequence[Node]:
        return node.args if not before(node) or (_same(node) not in available and redone(node)) else ()

    for node in toposort(grads, follow):
        if not before(node) or node.value is not None:
            continue
        if _same(node) in available:
            cuts.append(node)
        elif not redone(node):
            cuts.append(node)
            if _same(node) not in kept:
                kept.add(_same(node))
                residuals.append(node)
    return cuts, residuals


def batch_pair(pair: Pair, batched: Need, size: Size) -> Pair:
    """The pair for arguments of which those marked carry a batch axis; the cotangents of the others are summed."""
    flags = [batched[i] if is_arg else True for is_arg, i in pair.reads]
    flags += [True] * (len(pair.backward.inputs) - len(flags))
    many = batch_graph(pair.backward, tuple(flags), size)
    with isolated():
        inputs = fresh_inputs(many.in_avals)
        found = instantiate(many, inputs)
        final = [g if batched[i] else sum_(g, axes=(0,)) for i, g in zip(pair.found, found, strict=True)]
        backward = Graph(inputs, final)
    return Pair(batch_graph(pair.forward, batched, size), backward, pair.reads, pair.found, pair.results)
