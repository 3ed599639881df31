"""From pending nodes to values: collects what must be computed, finds the program by structure, runs it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from weakref import ref

from ..autodiff.residuals import vjp_reads
from ..base.errors import TraceError, WeftError
from ..base.locks import new_lock
from ..base.state import isolated, state
from ..ir.graph import extract_with_origins, toposort
from ..ir.node import GRAD, LEAF, LEVEL, SPENT, Node
from ..ir.primitive import input_prim, leaf_signature, pick, pick_prim
from .buffer import Buffer, Value
from .program import Program, ProgramCache

programs = ProgramCache(limit=4096)

#: Held while a graph is walked or its values are assigned, since threads may share nodes; not while programs run.
_walking = new_lock(rank=10)

LOOKED_AT = (
    "the value of a tensor was asked for inside a trace (compile, vmap, scan, cond, ...), where it is not known yet. "
    "For a branch on it use weft.where or weft.cond, for a loop weft.while_loop or weft.scan; a Python number that "
    "is meant to be fixed can be passed as a static argument"
)


class Pending:
    """The part of the graph that has no value yet, numbered from what is asked for down, with its structural key."""

    __slots__ = ("buffers", "key", "leaves", "nodes", "number")

    def __init__(self, roots: Sequence[Node]) -> None:
        self.number: dict[Node, int] = {}
        self.leaves: list[Node] = []
        self.buffers: list[Value] = []
        self.nodes: list[Node] = []
        self.key: list[object] = [state.backend]
        self.extend(roots)

    def extend(self, roots: Sequence[Node]) -> None:
        """Add what `roots` depend on, in the order in which it is found. This loop runs for every node of every flush:
        it looks at everything once.

        What was asked for comes first, so that what else is held does not change its place.
        """
        number, key, nodes = self.number, self.key, self.nodes
        found, add = number.setdefault, key.append
        count = len(number)
        for root in roots:
            if root in number:
                continue
            number[root] = count
            count += 1
            queue = [root]
            for node in queue:  # which grows meanwhile
                value = node.value
                if value is None or type(value) is list:  # several results: their picks have the values
                    nodes.append(node)
                    add(node.sig)
                    for a in node.args:
                        place = found(a, count)
                        if place == count:
                            count += 1
                            queue.append(a)
                        add(place)
                else:
                    self.leaves.append(node)
                    self.buffers.append(value)
                    add(node.sig.out)

    def program(self, wanted: Sequence[Node]) -> tuple[Located, Sequence[int] | None]:
        """The program that computes `wanted`, and which of its outputs those are (None: all, in order).

        A program of the same structure that computes more than is wanted serves as well as one made for it.
        """
        family: dict[tuple[int, ...], Located] = programs.get(tuple(self.key), dict)
        numbers = tuple([self.number[n] for n in wanted])
        found = family.get(numbers)
        if found is not None:
            programs.hits += 1
            return found, None
        for outputs, larger in family.items():
            if len(outputs) <= 2 * len(numbers) and set(numbers) <= set(outputs):
                programs.hits += 1
                return larger, [outputs.index(n) for n in numbers]
        programs.misses += 1
        found = family[numbers] = self._build(wanted)
        return found, None

    def _build(self, wanted: Sequence[Node]) -> Located:
        for n in self.nodes:
            if n.sig.prim is input_prim:
                raise TraceError(LOOKED_AT)
        with isolated():
            graph, origins = extract_with_origins(wanted, self.leaves)
        number = {n: i for i, n in enumerate(self.nodes)}
        places = [(number[n], line) for n, line in [origins[n] for n in graph.nodes]]
        return Located(Program(graph, sites=lambda i: self.site(*places[i])), places)

    def site(self, number: int, line: int) -> Any:
        """The user's line of a node; `line` is its number in a script, else -1."""
        node = self.nodes[number]
        return node.site if line < 0 else node.site[line]  # type: ignore[index]


class Located:
    """A program, and for each node of its graph the number of the pending node it comes from, with the number of its
    line if that is a script, else -1."""

    __slots__ = ("origins", "program")

    def __init__(self, program: Program, origins: list[tuple[int, int]]) -> None:
        self.program = program
        self.origins = origins


def realize(roots: Sequence[Node]) -> None:
    """Give every root its value, in one program. Roots that have one already are left alone."""
    roots = [r for r in roots if r.value is None]
    if not roots:
        return
    bits = GRAD | (state.active & ~(LEVEL - 1) & ~state.tracing)
    with _walking:
        pending = Pending(roots)
        wanted = roots
        for r in roots:
            if r.flags & bits and not r.flags & LEAF:
                wanted = _with_residuals(roots, pending, bits)
                break
        found, selected = pending.program(wanted)
    failed: list[Node] = []

    def site(i: int) -> Any:
        number, line = found.origins[i]
        failed.append(pending.nodes[number])
        return pending.site(number, line)

    try:
        values = found.program.run(pending.buffers, site)
    except WeftError as error:
        if failed:
            error.failed = ref(failed[0])  # type: ignore[attr-defined]
        raise
    if selected is not None:
        values = [values[i] for i in selected]
    with _walking:
        _assign(wanted, values, bits)


def failed_node(error: Exception) -> Node | None:
    """The pending node whose computation raised `error`, where that is known."""
    found = getattr(error, "failed", None)
    return found() if found is not None else None


def _with_residuals(roots: list[Node], pending: Pending, bits: int) -> list[Node]:
    """The roots, and what a later `backward` through them would read: looking at a loss first costs no second
    forward pass."""
    kept = dict.fromkeys(roots)
    reached = set(
        toposort(
            [r for r in roots if r.flags & bits],
            lambda n: () if n.flags & LEAF else [a for a in n.args if a.flags & bits],
        )
    )
    nodes = list(pending.nodes)
    picks: dict[tuple[Node, int], Node] = {
        (n.args[0], n.attrs["index"]): n for n in nodes if n.sig.prim is pick_prim
    }
    for n in nodes:
        if n not in reached or n.sig.prim is pick_prim or n.flags & LEAF:
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
    wanted = list(kept)
    pending.extend([n for n in wanted if n not in pending.number])
    return wanted


def _assign(wanted: Sequence[Node], values: list[Buffer], bits: int) -> None:
    """Hand out the values and let go of arguments nobody can differentiate through any more."""
    for node, value in zip(wanted, values, strict=True):
        # Where another thread was quicker, somebody may have been told where its value lies.
        if node.value is not None:
            continue
        node.value = value
        if node.flags & LEAF:
            node.sig, node.args = leaf_signature(node.sig.out), ()  # type: ignore[arg-type]
            continue
        if node.sig.prim is pick_prim and (parent := node.args[0]).flags & bits:
            if parent.parts is None:
                parent.parts = [None] * len(parent.sig.outs)
            parent.parts[node.sig.attrs["index"]] = value
        if not node.flags & bits:
            node.args = ()
            node.flags &= SPENT
