"""How much work a graph is: floating-point operations, bytes read and written, parameters.

One multiplication or addition is one operation, and so is any elementwise function of one element (an exponential
counts as much as a sum). What moves elements (reshape, transpose, broadcast, slice, pad) is free: it costs nothing
once it is fused with its neighbours. Bytes are counted as if every operation read its operands from memory and
wrote its result there; fusion makes them fewer. With open dimensions the counts are polynomials in them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..ir.graph import Graph, subgraphs
from ..ir.node import Node
from ..ir.primitive import pick_prim
from ..ir.shape import Dim, Size, size_of
from .subject import subject_of

Rule = Callable[[Node], Size]


@dataclass
class Row:
    """The work of all operations of one kind."""

    kind: str
    calls: int = 0
    flops: Size = 0
    read: Size = 0
    written: Size = 0

    def add(self, other: Row, times: int = 1) -> None:
        """Count `other` in, `times` over."""
        self.calls += other.calls * times
        self.flops = self.flops + other.flops * times
        self.read = self.read + other.read * times
        self.written = self.written + other.written * times


@dataclass
class Count:
    """The work of a graph, in total and by kind of operation; prints as a table."""

    title: str
    rows: list[Row]
    parameters: (
        Size  #: elements of parameters and other state (statistics, an optimiser's slots, array constants)
    )

    @property
    def flops(self) -> Size:
        """Floating-point (and integer) operations."""
        return sum([r.flops for r in self.rows], start=0)

    @property
    def bytes_read(self) -> Size:
        """Bytes of operands, as if nothing were fused."""
        return sum([r.read for r in self.rows], start=0)

    @property
    def bytes_written(self) -> Size:
        """Bytes of results, as if nothing were fused."""
        return sum([r.written for r in self.rows], start=0)

    def __str__(self) -> str:
        head = ("operation", "calls", "flops", "bytes read", "bytes written")
        lines = [(r.kind, str(r.calls), _show(r.flops), _show(r.read), _show(r.written)) for r in self.rows]
        calls = sum(r.calls for r in self.rows)
        total = ("total", str(calls), _show(self.flops), _show(self.bytes_read), _show(self.bytes_written))
        widths = [max(len(line[i]) for line in [head, *lines, total]) for i in range(5)]

        def row(cells: tuple[str, ...]) -> str:
            return "  ".join(
                [cells[0].ljust(widths[0]), *[c.rjust(w) for c, w in zip(cells[1:], widths[1:])]]
            )

        rule = "-" * (sum(widths) + 8)
        title = f"{self.title}: {_show(self.parameters)} parameters and other state"
        return "\n".join([title, row(head), rule, *map(row, lines), rule, row(total)])

    __repr__ = __str__


def count(obj: Any, *, expand: bool = False) -> Count:
    """The work of a graph, a compiled function's newest program, a loaded program, or a tensor's pending graph.

    Rows are kinds of operation, the most work first. A composite (softmax, layer norm, ...) is one kind, with the
    work of its body; with `expand` the primitives inside are listed instead. Loops count every iteration where their
    number is known (`scan`), one where it is not (`while_loop`); of branches the one with the most work counts.
    """
    subject = subject_of(obj)
    rows = list(_rows(subject.graph, expand, {}).values())
    if not any(isinstance(r.flops, Dim) or isinstance(r.read, Dim) for r in rows):
        rows.sort(key=lambda r: (-r.flops, -r.read - r.written, r.kind))  # type: ignore[operator]
    return Count(subject.title, rows, subject.parameters)


Memo = dict[tuple[Graph, bool], dict[str, Row]]


def _rows(graph: Graph, expand: bool, memo: Memo) -> dict[str, Row]:
    known = memo.get((graph, expand))
    if known is not None:
        return known
    rows: dict[str, Row] = {}
    for node in graph.nodes:
        if node.value is not None or node.prim is pick_prim:
            continue
        for found in _of_node(node, expand, memo):
            rows.setdefault(found.kind, Row(found.kind)).add(found)
    memo[graph, expand] = rows
    return rows


def _of_node(node: Node, expand: bool, memo: Memo) -> list[Row]:
    bodies = subgraphs(node)
    if not bodies:
        return [Row(node.prim.name, 1, flops_of(node), *_traffic(node))]
    inside = [list(_rows(b, expand, memo).values()) for b in bodies]
    times = node.attrs.get("length", 1)
    if node.prim.name in ("cond", "switch"):
        inside = [max(inside, key=_work)]
    if expand:
        out = []
        for row in [r for rows in inside for r in rows]:
            out.append(Row(row.kind))
            out[-1].add(row, times)
        return out
    total = Row(str(node.attrs.get("name", node.prim.name)))
    for row in [r for rows in inside for r in rows]:
        total.add(row, times)
    total.calls = 1
    return [total]


def work_of_node(node: Node) -> tuple[int, int, int]:
    """(operations, bytes read, bytes written) of one node, its bodies included; zeros where dimensions are open."""
    rows = _of_node(node, False, {})
    found = [sum([getattr(r, k) for r in rows], start=0) for k in ("flops", "read", "written")]
    return tuple(found) if all(isinstance(n, int) for n in found) else (0, 0, 0)  # type: ignore[return-value]


def _work(rows: list[Row]) -> int:
    flops = sum([r.flops for r in rows], start=0)
    return -1 if isinstance(flops, Dim) else flops


def _traffic(node: Node) -> tuple[Size, Size]:
    """Bytes read and written."""
    if node.prim.movement:
        return 0, 0
    ins, written = node.sig.inputs, _bytes(node.sig.outs)
    if node.prim.name in ("gather", "dynamic_slice"):  # only what is picked is touched
        return written + _bytes(ins[1:]), written
    return _bytes(ins), written


def _bytes(avals: tuple[Any, ...]) -> Size:
    total: Size = 0
    for a in avals:
        total = total + a.size * a.dtype.itemsize
    return total


def flops_of(node: Node) -> Size:
    """The operations of one node without sub-graphs."""
    prim = node.prim
    rule = _RULES.get(prim.name)
    if rule is not None:
        return rule(node)
    if prim.movement or not prim.computes:
        return 0
    return size_of(node.sig.outs[0].shape)


def _dot(node: Node) -> Size:
    x = node.sig.inputs[0]
    return 2 * node.size * size_of([x.shape[i] for i in node.attrs["contract"][0]])


def _conv(node: Node) -> Size:
    kernel = node.sig.inputs[1]
    return 2 * node.size * size_of(kernel.shape[1:])


def _input(node: Node) -> Size:
    return node.sig.inputs[0].size


def _sort(node: Node) -> Size:
    x = node.sig.inputs[0]
    n = x.shape[node.attrs["axis"]]
    return x.size * (max(1, math.ceil(math.log2(n))) if isinstance(n, int) and n > 1 else 1)


def _matrix(numerator: int, denominator: int = 1) -> Rule:
    """`numerator/denominator` * n**3 for each square (m*n*n: tall) matrix of a stack, n the smaller side."""

    def rule(node: Node) -> Size:
        shape = node.sig.inputs[0].shape
        m, n = shape[-2:]
        small = n if not isinstance(m, int) or not isinstance(n, int) or n < m else m
        flops = size_of(shape) * small * numerator
        return flops // denominator if isinstance(flops, int) else flops

    return rule


def _solve(node: Node) -> Size:
    """A factorisation (unless triangular) and two multiplications for each element and column."""
    a, b = node.sig.inputs[:2]
    n = a.shape[-1]
    factor: Size = _matrix(2, 3)(node) if node.prim.name == "solve" else 0
    return factor + 2 * n * b.size


_RULES: dict[str, Rule] = {
    "dot_general": _dot,
    "conv": _conv,
    "windows_add": _input,
    **dict.fromkeys(("sum", "prod", "max", "min", "any", "all", "argmax", "argmin"), _input),
    **dict.fromkeys(("cumsum", "cumprod", "cummax", "cummin"), _input),
    "linear_recurrence": lambda node: 2 * node.sig.inputs[0].size,
    "scatter_add": lambda node: node.sig.inputs[1].size,
    **dict.fromkeys(("sort", "argsort"), _sort),
    **dict.fromkeys(("cholesky",), _matrix(1, 3)),
    **dict.fromkeys(("det", "slogdet"), _matrix(2, 3)),
    **dict.fromkeys(("inv", "cofactors"), _matrix(2)),
    **dict.fromkeys(("qr",), _matrix(4, 3)),
    **dict.fromkeys(("eigvalsh", "svdvals"), _matrix(4)),
    **dict.fromkeys(("eigh",), _matrix(9)),
    **dict.fromkeys(("eigvals",), _matrix(10)),
    **dict.fromkeys(("svd", "pinv"), _matrix(14)),
    **dict.fromkeys(("eig",), _matrix(25)),
    **dict.fromkeys(("solve", "triangular_solve"), _solve),
}


def _show(n: Size) -> str:
    return f"{n:,}" if isinstance(n, int) else str(n)
