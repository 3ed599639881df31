"""Nodes with sub-graphs that return, after their own results, what reverse mode through them will read.

Where a gradient may be asked for, a `call`, `scan` or `cond` is built *wide* from the start: its results are those
of the plain node followed by its residuals, and its `rule` attribute is a `Saved` that knows how to use them. So
the backward pass runs nothing twice. A wide node whose residuals nobody reads can be made plain again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ..base.errors import GradientError
from ..base.state import state
from ..ir.node import GRAD, SPENT, Node, Signature, make_node
from ..ir.primitive import Primitive, pick, pick_prim
from ..ir.serialize import follows_body

Need = tuple[bool, ...]


class Saved:
    """The rule of a wide node. `plain`: its signature without residuals; `need`: the arguments that have cotangents;
    `reads`: the arguments (True, i) and results (False, i) of the wide node that reverse mode reads."""

    __slots__ = ("need", "plain", "reads")

    def __init__(self, plain: Signature, need: Need, reads: tuple[tuple[bool, int], ...]) -> None:
        self.plain = plain
        self.need = need
        self.reads = reads

    def covers(self, need: Iterable[bool]) -> bool:
        """Whether cotangents were foreseen for all the arguments marked in `need`."""
        return need == self.need or all(r or not n for r, n in zip(self.need, need, strict=True))

    @property
    def follows_body(self) -> bool:
        """Whether the derivative is that of the node's own body."""
        return follows_body(self.plain.attrs.get("rule"))

    def with_sizes(self, size: Callable[[Any], Any]) -> Saved | None:
        """What remains of the rule once named dimensions have sizes: nothing, where the body says the same."""
        return self.barrier if self.follows_body else self

    @property
    def barrier(self) -> Any:
        """The rule under which passes keep the node whole, if they must."""
        return getattr(self.plain.attrs.get("rule"), "barrier", None)

    def __repr__(self) -> str:
        return "residuals"


#: Primitive -> (plain signature, need) -> wide signature.
widen: dict[Primitive, Callable[[Signature, Need], Signature]] = {}


def with_residuals(sig: Signature, need: Need) -> Signature:
    """The signature of the node that returns, after its own results, what reverse mode will read."""
    if sig.prim not in widen or isinstance(sig.attrs.get("rule"), Saved):
        return sig
    found = sig.memo.get(need)
    if found is None:
        found = sig.memo[need] = widen[sig.prim](sig, need)
    return found


def foreseeing(sig: Signature, need: Need) -> Signature:
    """`with_residuals`, or `sig` itself where there is no reverse mode: that is an error only if it is asked for."""
    key = ("no reverse mode", need)
    if key in sig.memo:
        return sig
    try:
        return with_residuals(sig, need)
    except GradientError:
        sig.memo[key] = True
        return sig


def saving_node(sig: Signature, args: tuple[Node, ...]) -> Node:
    """`make_node`, wide where a gradient may be asked for. Bodies of graphs widen later, when differentiated."""
    if sig.differentiable and sig.prim in widen and state.grad and not state.body:
        bits = state.active & ~(state.tracing | SPENT)
        need = tuple([a.flags & bits != 0 for a in args])
        if True in need:
            return make_node(sig.memo.get(need) or foreseeing(sig, need), args)
    return make_node(sig, args)


def saving_results(sig: Signature, args: tuple[Node, ...]) -> tuple[Node, ...]:
    """The results of `sig` applied to `args`, without the residuals that the node may have beside them."""
    node = saving_node(sig, args)
    if type(node.sig.out) is not tuple:
        return (node,)
    return tuple([pick(node, i) for i in range(len(sig.outs))])


def rebuild_saving(node: Node, args: tuple[Node, ...]) -> Node:
    """Like `rebuild`, but what will be differentiated returns its residuals from the start."""
    sig = node.sig
    if sig.prim is pick_prim:
        new = pick(args[0], sig.attrs["index"])
    elif sig.prim in widen and node.flags & GRAD:
        new = make_node(foreseeing(sig, tuple([bool(a.flags & GRAD) for a in args])), args)
        if type(new.sig.out) is tuple and type(sig.out) is not tuple:
            new = pick(new, 0)
    else:
        new = make_node(sig, args)
    if not node.flags & GRAD:
        new.flags &= state.tracing
    return new


def unread(order: Iterable[Node]) -> dict[Node, Signature]:
    """The wide nodes among `order` whose residuals no other node of it picks, with their plain signatures."""
    wide: dict[Node, Signature] = {}
    for n in order:
        if n.sig.prim is pick_prim:
            parent = n.args[0]
            plain = wide.get(parent)
            if plain is not None and n.sig.attrs["index"] >= len(plain.outs):
                del wide[parent]
        elif n.sig.prim in widen:
            rule = n.sig.attrs["rule"]
            if isinstance(rule, Saved) and n.value is None:
                wide[n] = rule.plain
    return wide
