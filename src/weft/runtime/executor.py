"""From pending nodes to values: collects what must be computed, finds the program by structure, runs it."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from ..autodiff.residuals import vjp_reads
from ..base.config import config
from ..base.errors import TraceError
from ..base.state import state
from ..ir.graph import Graph, extract, toposort
from ..ir.node import GRAD, LEVEL, Node
from ..ir.primitive import input_prim, pick, pick_prim
from .buffer import Buffer, Value
from .program import Program, ProgramCache

programs = ProgramCache(limit=4096)

LOOKED_AT = (
    "the value of a tensor was asked for inside a trace (compile, vmap, scan, cond, ...), where it is not known yet. "
    "For a branch on it use weft.where or weft.cond, for a loop weft.while_loop or weft.scan; a Python number that "
    "is meant to be fixed can be passed as a static argument"
)


def realize(roots: Sequence[Node]) -> None:
    """Give every root its value, in one program. Roots that have one already are left alone."""
    roots = [r for r in roots if r.value is None]
    if not roots:
        return
    order = toposort(roots, lambda n: () if n.value is not None else n.args)
    wanted = _with_residuals(roots, order)
    leaves = [n for n in order if n.value is not None]
    nodes = [n for n in order if n.value is None]
    key, buffers = _key(leaves, nodes, wanted)
    program: Program = programs.get(key, lambda: Program(_graph(leaves, nodes, wanted)))
    values = program.run(buffers, [n.site for n in nodes])
    _assign(wanted, values, nodes)


def _graph(leaves: list[Node], nodes: list[Node], wanted: list[Node]) -> Graph:
    for n in nodes:
        if n.sig.prim is input_prim:
            raise TraceError(LOOKED_AT)
    return extract(wanted, leaves)


def _key(leaves: list[Node], nodes: list[Node], wanted: list[Node]) -> tuple[Hashable, list[Value]]:
    number: dict[Node, int] = {}
    buffers: list[Value] = []
    key: list[Hashable] = [config.backend]
    for n in leaves:
        number[n] = len(number)
        key.append(n.sig.out)
        buffers.append(n.value)
    for n in nodes:
        number[n] = len(number)
        key.append(n.sig)
        for a in n.args:
            key.append(number[a])
    key.append(-1)
    for n in wanted:
        key.append(number[n])
    return tuple(key), buffers


def _with_residuals(roots: list[Node], order: list[Node]) -> list[Node]:
    """The roots, and what a later `backward` through them would read: looking at a loss first costs no second
    forward pass."""
    bits = GRAD | (state.active & ~(LEVEL - 1))
    if not any(r.flags & bits for r in roots):
        return roots
    tracked = [n for n in order if n.flags & bits and n.value is None]
    kept = dict.fromkeys(roots)
    reached = set(
        toposort([r for r in roots if r.flags & bits], lambda n: [a for a in n.args if a.flags & bits])
    )
    picks: dict[tuple[Node, int], Node] = {
        (n.args[0], n.attrs["index"]): n for n in order if n.sig.prim is pick_prim
    }
    for n in tracked:
        if n not in reached or n.sig.prim is pick_prim:
            continue
        need = tuple([bool(a.flags & bits) for a in n.args])
        for is_arg, i in vjp_reads(n.sig, need):
            if is_arg:
                read = n.args[i]
            elif type(n.sig.out) is tuple:
                if (n, i) not in picks:
                    picks[n, i] = pick(n, i)
                read = picks[n, i]
            else:
                read = n
            if read.value is None:
                kept[read] = None
    return list(kept)


def _assign(wanted: list[Node], values: list[Buffer], nodes: list[Node]) -> None:
    """Hand out the values and let go of arguments nobody can differentiate through any more."""
    bits = GRAD | (state.active & ~(LEVEL - 1))
    for node, value in zip(wanted, values, strict=True):
        node.value = value
    for node, value in zip(wanted, values, strict=True):
        if node.sig.prim is pick_prim and node.flags & bits:
            parent = node.args[0]
            if parent.value is None:
                parent.value = [None] * len(parent.sig.outs)
            parent.value[node.attrs["index"]] = value
    for node in wanted:
        if not node.flags & bits:
            node.args = ()
            node.flags &= GRAD
