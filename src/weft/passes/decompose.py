"""Composites opened up: `call` nodes replaced by their bodies."""

from __future__ import annotations

from collections.abc import Callable

from ..ir.graph import Graph, instantiate, rebuild
from ..ir.node import Node
from ..ir.primitive import pick_prim
from ..ops.control import call
from .rewrite import rewrite

#: Whether a backend wants to see this call whole (flash attention, say).
Keep = Callable[[Node], bool]


def decompose(graph: Graph, keep: Keep = lambda node: False) -> Graph:
    """`graph` with the bodies of calls in place of the calls, bodies within bodies included.

    The nodes of a body take over the source line of the outermost call. A call whose rule is a `barrier` stays: what it
    computes again on purpose must not be found to be there already.
    """
    opened: dict[Node, tuple[Node, ...]] = {}  # a stand-in for a call with several results -> those results

    def open_up(old: Node, args: tuple[Node, ...]) -> Node | None:
        if old.sig.prim is pick_prim and args[0] in opened:
            return opened[args[0]][old.attrs["index"]]
        if old.sig.prim is not call or keep(old) or getattr(old.attrs["rule"], "barrier", None) is not None:
            return None
        outs = instantiate(old.attrs["body"], args, inner)
        if type(old.sig.out) is not tuple:
            return outs[0]
        stand_in = rebuild(old, args)
        opened[stand_in] = outs
        return stand_in

    def inner(old: Node, args: tuple[Node, ...]) -> Node:
        new = open_up(old, args)
        return rebuild(old, args) if new is None else new

    return rewrite(graph, open_up)
