"""What a compiling backend makes of a graph: the graph after each pass, and the kernels with their loops and work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..backends.cpu.making import assembly, source
from ..backends.cpu.processor import host_target
from ..backends.cpu.regions import Region, numbered, plan, prepare
from ..backends.cpu.watch import tasks_of
from ..base.errors import ArgumentError
from ..base.site import describe_site
from ..ir.graph import Graph, bind_dims
from ..ir.node import Node
from ..kernel.loops import Kernel
from ..kernel.schedule import Step
from ..kernel.show import show_kernel
from ..kernel.tiles import Tiles
from ..kernel.winograd import Winograd
from ..kernel.winograd_gradient import Sums
from ..ops.loops import scan
from ..runtime.profile import Task
from .count import work_of_node
from .draw import Box, Drawing, short
from .subject import Subject, subject_of


@dataclass(frozen=True)
class KernelRow:
    """One step of a program: a kernel, a loop or branch, or an operation that is left to the host."""

    name: str  #: of the kernel; "loop", "branch" or "host"
    operations: tuple[str, ...]  #: as the user called them
    lines: tuple[str, ...]  #: the user's lines
    results: str  #: their types
    times: int | None  #: how often it runs in one run of the program; None where only running it tells
    flops: int
    read: int  #: bytes, each operand once
    written: int
    loops: str  #: the loop IR; empty where there is no kernel
    depth: int  #: in how many loops and branches it is
    step: Step
    source: Graph  #: the graph that it computes a part of, before all passes

    @property
    def llvm(self) -> str:
        """Its LLVM code for this machine, as it is written; empty where there is no kernel."""
        return source(self.step.kernel, self.name, host_target())[0] if self.step.kernel is not None else ""

    @property
    def assembly(self) -> str:
        """Its machine code for this machine, as text; empty where there is no kernel."""
        return assembly(self.step.kernel, self.name, host_target()) if self.step.kernel is not None else ""


@dataclass(frozen=True)
class Kernels:
    """A program as the compiler sees it; prints as a table."""

    title: str
    subject: Subject
    stages: tuple[tuple[str, Graph], ...]  #: the graph as it was, then after each pass that changed it
    rows: tuple[KernelRow, ...]
    arena: int  #: bytes of intermediate values that are needed at once
    inputs: int  #: bytes of arguments and state
    outputs: int  #: bytes of results and new state

    @property
    def before(self) -> Graph:
        """The graph before all passes."""
        return self.stages[0][1]

    @property
    def after(self) -> Graph:
        """The graph after all passes: what the kernels compute."""
        return self.stages[-1][1]

    @property
    def loops(self) -> str:
        """The loop IR of all kernels."""
        return "\n\n".join([r.loops for r in self.rows if r.loops])

    def __str__(self) -> str:
        head = ("kernel", "times", "flops", "bytes read", "bytes written", "operations", "lines")
        cells = [_cells(r) for r in self.rows]
        widths = [max(len(c[i]) for c in [head, *cells]) for i in range(len(head))]

        def text(row: tuple[str, ...]) -> str:
            return "  ".join(
                [c.rjust(w) if 0 < i < 5 else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths))]
            ).rstrip()

        total = sum((r.times or 1) * r.flops for r in self.rows)
        kernels = sum(bool(r.loops) for r in self.rows)
        title = (
            f"{self.title}: {kernels} kernels, {total:,} operations; arena {self.arena:,} bytes at its peak, "
            f"inputs {self.inputs:,}, outputs {self.outputs:,}"
        )
        return "\n".join([title, text(head), *map(text, cells)])

    __repr__ = __str__

    @property
    def drawing(self) -> Drawing:
        """A picture: a box for each kernel, the values that it reads and stores between."""
        return _drawing(self)


def kernels(obj: Any, *, dims: Mapping[str, int] | None = None) -> Kernels:
    """What the compiling backend makes of a graph.

    obj: a compiled function (its newest program), one of its programs, a loaded program, a `Graph`, or a tensor (what
    has not been computed yet). `dims` gives the sizes of open dimensions. No code is generated for it.

    Raises:
        ArgumentError: if a dimension is open and `dims` does not say how large it is.
    """
    subject = subject_of(obj)
    graph = _sized(subject.graph, dims or {})
    stages = [("as written", graph)]

    def keep(name: str, new: Graph) -> None:
        if new is not last[0]:
            stages.append((name, new))
            last[0] = new

    start = numbered(graph)
    last = [start]
    region = plan(prepare(start, keep, subject.steady))
    rows = tuple(_rows(region, graph, tasks_of(region, graph), 0, 1))
    return Kernels(
        subject.title,
        subject,
        tuple(stages),
        rows,
        region.arena.size,
        _bytes(graph.inputs),
        _bytes(graph.outputs),
    )


def _sized(graph: Graph, dims: Mapping[str, int]) -> Graph:
    missing = sorted(set(graph.dims) - set(dims))
    if missing:
        raise ArgumentError(
            f"kernels are made for known sizes; say how large {', '.join(missing)} is: dims={{{missing[0]!r}: 32}}"
        )
    return bind_dims(graph, dict(dims)) if graph.dims else graph


def _bytes(nodes: Any) -> int:
    return sum(int(n.size) * n.dtype.itemsize for n in dict.fromkeys(nodes))


def _rows(
    region: Region, source: Graph, tasks: Mapping[Step, Task], depth: int, times: int | None
) -> Iterator[KernelRow]:
    for step in region.steps:
        task = tasks[step]
        lines = tuple(dict.fromkeys([t for s in task.sites if (t := describe_site(s))]))
        inner = region.inner.get(step)
        if inner is not None:
            name = "branch" if len(inner.regions) > 1 and "while" not in step.node.prim.name else "loop"
            yield KernelRow(
                name, task.names, lines, "", times, 0, 0, 0, "", depth, step, source
            )  # its kernels follow
            length = step.node.attrs["length"] if step.node.prim is scan else None
            inside = times * int(length) if length is not None and times is not None else None
            for sub in inner.regions:
                yield from _rows(sub, sub.source or sub.graph, tasks, depth + 1, inside)
        elif step.kernel is None:
            work = work_of_node(step.node)
            yield KernelRow("host", task.names, lines, task.detail, times, *work, "", depth, step, source)
        else:
            work = (task.flops or 0, task.read or 0, task.written or 0)
            text = show_kernel(replace(step.kernel, name=step.name))
            yield KernelRow(
                step.name, task.names, lines, task.detail, times, *work, text, depth, step, source
            )


def _cells(row: KernelRow) -> tuple[str, ...]:
    what = ", ".join(row.operations)
    if len(what) > 60:
        what = what[:59] + "…"
    lines = dict.fromkeys([line.rpartition(", in ")[0].rpartition("/")[2] for line in row.lines])
    counted = [
        f"{n:,}" if row.name not in ("loop", "branch") else "" for n in (row.flops, row.read, row.written)
    ]
    times = "" if row.times is None else str(row.times)
    results = row.results if len(row.results) <= 50 else ""
    return "  " * row.depth + row.name, times, *counted, f"{what} {results}".strip(), ", ".join(lines)


def _drawing(k: Kernels) -> Drawing:
    graph, subject = k.after, k.subject
    rows = [r for r in k.rows if r.depth == 0]
    boxes: list[Box] = []
    edges: list[tuple[int, int, str]] = []
    maker: dict[Node, int] = {}
    used = {n for r in rows for n in r.step.reads} | set(graph.outputs)
    for i, (node, name) in enumerate(zip(graph.inputs, subject.input_names, strict=True)):
        if node in used:
            kind = "state" if i in subject.state else "argument"
            maker[node] = len(boxes)
            boxes.append(Box((short(name), repr(node.aval)), kind, f"{kind} {name}: {node.aval.describe()}"))
    for row in rows:
        at = len(boxes)
        boxes.append(_box(row, [r for r in k.rows if r.depth and _inside(r, row, k.rows)]))
        for n in row.step.reads:
            if n in maker:
                edges.append((maker[n], at, repr(n.aval)))
        maker.update(dict.fromkeys(row.step.writes, at))
    for label, out in zip(subject.output_names, graph.outputs, strict=True):
        if out in maker:
            edges.append((maker[out], len(boxes), repr(out.aval)))
        boxes.append(Box((short(label), repr(out.aval)), "output", f"{label}: {out.aval.describe()}"))
    return Drawing(f"{k.title}, kernels", tuple(boxes), tuple(edges))


def _inside(row: KernelRow, outer: KernelRow, rows: tuple[KernelRow, ...]) -> bool:
    """Whether a row belongs to a loop or branch of the outermost level: it follows it with nothing of it between."""
    at = rows.index(outer)
    for r in rows[at + 1 :]:
        if r.depth == 0:
            return False
        if r is row:
            return True
    return False


def _box(row: KernelRow, inside: list[KernelRow]) -> Box:
    names = short(", ".join(row.operations))
    work = f"{row.flops:,} operations, {row.read + row.written:,} bytes"
    if inside:
        each = [r for r in inside if r.loops]
        work = f"{len(each)} kernels" + (f", {each[0].times} times" if each and each[0].times else "")
    lines = (f"{row.name}: {names}", *([short(row.results)] if row.results else []), work)
    if inside:
        kind = "composite"
    elif isinstance(row.step.kernel, (Tiles, Winograd, Sums)):
        kind = "contraction"
    elif isinstance(row.step.kernel, Kernel) and any(s.reductions for s in row.step.kernel.stages):
        kind = "reduction"
    else:
        kind = "operation"
    tooltip = "\n".join([t for t in (", ".join(row.operations), *row.lines, row.loops) if t])
    return Box(tuple([short(t) for t in lines]), kind, tooltip)
