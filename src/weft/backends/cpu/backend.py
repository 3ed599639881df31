"""The CPU backend: a graph becomes kernels, an arena and a table of steps; a call is one foreign call."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
from llvmlite import ir

from ...base.errors import BackendError, IndexingError, WeftError
from ...base.state import isolated
from ...ir.graph import Graph, fresh_inputs, instantiate, rebuild
from ...ir.node import Node
from ...ir.primitive import pick_prim
from ...kernel.complexes import EDGES, split_complex
from ...kernel.layout import separate_operands
from ...kernel.lower import looked_up, pulls
from ...kernel.memory import Arena, plan_arena
from ...kernel.narrow import widen_storage
from ...kernel.running import FINAL
from ...kernel.schedule import Step, builders, schedule
from ...kernel.sorting import Sort
from ...kernel.target import Target
from ...kernel.tiles import Tiles
from ...passes.pipeline import run_passes
from ...runtime.backend import Commit, Fault, Observer
from ...runtime.buffer import Buffer, Value
from . import emit, host, memory, sorting, threads, tiles
from .driver import STEP_WORDS
from .host import on_host
from .jit import Library, host_target
from .scalar import table


def supported(node: Node) -> bool:
    """Whether there is native code for a node's operation on its types."""
    if node.value is not None:
        return True
    if node.prim is pick_prim or type(node.sig.out) is tuple:
        return False
    types = [a.dtype for a in node.sig.inputs] + [node.dtype]
    if any(d.kind == "c" for d in types):
        return node.prim.name in EDGES
    if node.prim.computes and any(a.dtype.storage_only for a in node.sig.inputs):
        return False  # `widen_storage` leaves none of these
    name = node.prim.name
    return name in table or name in builders or name in pulls


class CpuBackend:
    """Compiles graphs to native code."""

    name = "cpu"

    def compile(self, graph: Graph) -> CpuProgram:
        return CpuProgram(separate_operands(split_complex(widen_storage(run_passes(numbered(graph))))))


def numbered(graph: Graph) -> Graph:
    """`graph` with the position of each node in place of its source line: it survives the passes, and tells an
    error which node of the graph it is about."""
    position = {n: i for i, n in enumerate(graph.nodes)}

    def make(old: Node, args: tuple[Node, ...]) -> Node:
        new = rebuild(old, args)
        new.site = (None, position[old])
        return new

    with isolated():
        inputs = fresh_inputs(graph.in_avals)
        return Graph(inputs, instantiate(graph, inputs, make))


#: Work below which a step is not worth sharing out, in elements times operations.
_SERIAL = 20_000


class CpuProgram:
    """One graph, compiled: its code, where its intermediate values lie, and the table that the driver walks."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.target = host_target()
        self.steps = schedule(graph, supported)
        missing = sorted({s.node.prim.name for s in self.steps if s.kernel is None and not on_host(s.node)})
        if missing:
            raise BackendError(f"the cpu backend has no code yet for {', '.join(missing)}")
        self.library = self._compile()
        self.arena: Arena = plan_arena(graph, self.steps)
        self._lay_out()

    def _compile(self) -> Library:
        module = ir.Module("program")
        for step in self.steps:
            if isinstance(step.kernel, Tiles):
                tiles.emit_tiles(module, step.kernel, self.target)
            elif isinstance(step.kernel, Sort):
                sorting.emit_sort(module, step.kernel, self.target)
            elif step.kernel is not None:
                emit.emit_kernel(module, step.kernel, self.target)
        return Library(module, self.target)

    def _lay_out(self) -> None:
        """Number everything a kernel may point to, and write down each kernel's pointers as such numbers.

        Slots are the inputs, the constants, the outputs, and the places in the arena, in this order.
        """
        graph = self.graph
        slots: dict[Node, int] = {}
        for n in graph.inputs:
            slots[n] = len(slots)
        self._constants = [_constant(n) for n in graph.constants]
        self._constant_pointers = [a.ctypes.data for a in self._constants]
        for n in graph.constants:
            slots[n] = len(slots)
        made = [n for s in self.steps for n in s.writes]
        self._made = [n for n in dict.fromkeys(graph.outputs) if n in set(made)]
        for n in self._made:
            slots[n] = len(slots)
        inner = [n for n in made if n not in slots]
        for n in inner:
            slots[n] = len(slots)
        self._offsets = np.array([self.arena.offsets[n] for n in inner], np.int64)
        self._slots = slots
        order: list[int] = []
        words: list[int] = []
        checked: list[int] = []  # steps with a status word each, after all slots
        self._segments: list[tuple[int, int] | Step] = []  # native steps (first, count), or one of the host's
        native = 0
        for step in self.steps:
            if step.kernel is None:
                self._segments.append(step)
                continue
            count = _units(step.kernel, self.target)
            grain = 0 if count < 2 or _work(step) < _SERIAL else max(1, count // (8 * 64))
            words += [self.library.address(step.kernel.name), len(order), count, grain]
            order += [slots[n] for n in (*step.reads, *step.writes)]
            if step.kernel.checked:
                order.append(len(slots) + len(checked))
                checked.append(self.steps.index(step))
            last = self._segments[-1] if self._segments else None
            if isinstance(last, tuple):
                self._segments[-1] = (last[0], last[1] + 1)
            else:
                self._segments.append((native, 1))
            native += 1
        self._checked = checked
        self._order = np.array(order, np.int64)
        self._words = np.array(words, np.int64)

    def run(self, inputs: Sequence[Value], observe: Observer | None = None) -> list[Buffer]:
        held = [_array(v, n) for v, n in zip(inputs, self.graph.inputs, strict=True)]
        outs = [memory.take(n.shape, n.dtype.numpy) for n in self._made]  # type: ignore[arg-type]
        arena = memory.take_arena(self.arena.size)
        slots = np.empty(len(self._slots) + len(self._checked), np.int64)
        count = len(held)
        for i, a in enumerate(held):
            slots[i] = a.ctypes.data
        slots[count : count + len(self._constants)] = self._constant_pointers
        count += len(self._constants)
        for i, b in enumerate(outs):
            slots[count + i] = b.address
        count += len(outs)
        slots[count : len(self._slots)] = self._offsets
        slots[count : len(self._slots)] += arena.address
        status = np.zeros(len(self._checked), np.int64)
        slots[len(self._slots) :] = status.ctypes.data + 8 * np.arange(len(status))
        tables = slots[self._order]
        for segment in self._segments:
            if isinstance(segment, Step):
                self._run_on_host(segment, slots)
            else:
                first, many = segment
                threads.run(self._words.ctypes.data + 8 * STEP_WORDS * first, many, tables.ctypes.data)
        memory.give_back(arena)
        if status.any():
            self._raise_index_error(int(np.flatnonzero(status)[0]))
        made = dict(zip(self._made, outs, strict=True))
        return [made.pop(n) if n in made else self._copied(n, held, outs) for n in self.graph.outputs]

    def _run_on_host(self, step: Step, slots: np.ndarray) -> None:
        """Compute a node in Python, on arrays over the program's memory."""
        arrays = [self._view(n, slots) for n in step.reads]
        try:
            with np.errstate(all="ignore"):
                found = host.evaluate(step.node, arrays)
        except WeftError as e:
            raise Fault(step.node.site[1], e) from None
        for n in step.writes:
            value = found[n.attrs["index"]] if n.prim is pick_prim else found
            self._view(n, slots)[...] = value

    def _view(self, node: Node, slots: np.ndarray) -> np.ndarray:
        """The memory of a stored value as an array."""
        dtype = node.dtype.numpy
        size = int(node.size) * dtype.itemsize
        raw = (ctypes.c_byte * max(size, 1)).from_address(int(slots[self._slots[node]]))
        return np.frombuffer(raw, np.uint8, size).view(dtype).reshape(node.shape)  # type: ignore[arg-type]

    def _raise_index_error(self, which: int) -> None:
        node = _indexed(self.steps[self._checked[which]])
        x = node.args[0].aval
        error = IndexingError(f"{node.prim.name}: an index is out of bounds for {x.describe()}")
        raise Fault(node.site[1], error)

    def _copied(self, node: Node, held: list[np.ndarray], outs: list[memory.Recycled]) -> Buffer:
        """An output that is an input, a constant or another output: in memory of its own."""
        at = self._slots[node]
        if at < len(held):
            source = held[at]
        elif at < len(held) + len(self._constants):
            source = self._constants[at - len(held)]
        else:
            source = outs[at - len(held) - len(self._constants)].array
        return Buffer(np.array(source, copy=True).reshape(node.shape))  # type: ignore[arg-type]

    def run_donating(self, inputs: Sequence[Value], donate: Sequence[bool], commit: Commit) -> None:
        commit(self.run(inputs))
        for value, given in zip(inputs, donate, strict=True):
            if given and isinstance(value, Buffer):
                memory.recycle(value)
                value.donate()


def _indexed(step: Step) -> Node:
    """The operation inside a kernel that reads or writes at run-time places."""
    known = set(step.reads)
    stack = [n for n in reversed(step.writes) if n.args]
    while stack:
        node = stack.pop()
        if node.prim.name != "searchsorted" and (node.prim.name in looked_up or node.prim.name in FINAL):
            return node
        stack.extend(a for a in reversed(node.args) if a not in known and a.value is None)
    return step.node


def _array(value: Value, node: Node) -> np.ndarray:
    if isinstance(value, Buffer):
        return value.array
    return np.array(value, node.dtype.numpy)


def _constant(node: Node) -> np.ndarray:
    return np.ascontiguousarray(_array(node.value, node))


def _units(kernel: Any, target: Target) -> int:
    if isinstance(kernel, Sort):
        return kernel.iterations
    return tiles.units(kernel, target) if isinstance(kernel, Tiles) else emit.units(kernel, target)


def _work(step: Step) -> int:
    """A rough count of operations, to tell what is worth several threads."""
    if isinstance(step.kernel, Tiles):
        return step.kernel.flops // 8
    if isinstance(step.kernel, Sort):
        return step.kernel.work
    assert step.kernel is not None
    inner = 1
    for stage in step.kernel.stages:
        for v in stage.variables:
            inner *= max(v.size, 1)
    return step.kernel.iterations * inner
