"""Graphs that are seen for the first time, one operation after the other.

To plan the kernels of a graph takes a millisecond or two, many times as long as to compute a few thousand elements. So
a small graph runs without a plan at first: NumPy moves and compares elements, nearly all operations have generic
kernels of their own, and the others are programs of one operation, which graphs share. The results have the bits that
those of the planned graph have (docs/decisions/0029-at-once.md).
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from ...base.state import isolated
from ...ir.graph import Graph, fresh_inputs
from ...ir.node import Node, Signature
from ...ir.primitive import pick
from ...kernel.target import Target
from ...runtime.backend import NOTHING, Executable, Fault, Observer
from ...runtime.buffer import Buffer, Value, to_array
from . import library
from .operations import Alone, Constant, operation_of
from .single_calls import Operation, SingleKernel, load

#: Kernels and programs that may have to be made first. Where it takes more, it may as well be those of the whole graph.
_NEW = 3

#: Programs of one operation that are kept.
_MOST = 256


class AtOnce:
    """A graph as a list of steps, one for each node.

    Thousands of them may be kept. So they consist of tuples of operations that are shared, of numbers and of types,
    which take the garbage collector no time, or hardly any.
    """

    __slots__ = ("_again", "_arguments", "_operations", "_places", "_results", "_room", "_types", "runs")

    def __init__(self, graph: Graph, operations: Sequence[Operation], runs: int) -> None:
        self.runs = runs
        self._types = tuple([n.dtype.numpy for n in graph.inputs])
        self._operations = tuple(operations)
        place, self._room = _places(graph)
        self._arguments = tuple([tuple([place[a] for a in n.args]) for n in graph.nodes])
        self._places = tuple([place[n] for n in graph.nodes])
        self._results = tuple([place[n] for n in graph.outputs])
        #: whether each result may lie where an input does, or another result: then it is copied
        again: list[bool] = []
        seen = {*graph.inputs, *[n for n, o in zip(graph.nodes, operations, strict=True) if o.shares]}
        for n in graph.outputs:
            again.append(n in seen)
            seen.add(n)
        self._again = tuple(again)

    def run(self, inputs: Sequence[Value], observe: Observer | None = None) -> list[Buffer]:
        values: list[Any] = [
            v if isinstance(v, Buffer) else Buffer(to_array(v, t))
            for v, t in zip(inputs, self._types, strict=True)
        ]
        values += [None] * (self._room - len(values))
        position = 0
        try:
            for operation, args, place in zip(self._operations, self._arguments, self._places, strict=True):
                values[place] = operation([values[i] for i in args])
                position += 1
        except Fault as fault:
            raise Fault(position, fault.error) from None
        outs = zip(self._results, self._again, strict=True)
        return [values[i].copy() if again else values[i] for i, again in outs]

    def standing(self, steady: Collection[int] = (), replaced: Mapping[int, int | None] = NOTHING) -> None:
        """Nothing is laid out for calls that follow one another."""


def _places(graph: Graph) -> tuple[dict[Node, int], int]:
    """Where each value is held, and how many at most: the place of one that nobody reads any more is used again."""
    place = {n: i for i, n in enumerate(graph.inputs)}
    readers = Counter([a for n in graph.nodes for a in n.args])
    readers.update(graph.outputs)
    free: list[int] = []
    room = len(place)
    for n in graph.nodes:
        if free:
            place[n] = free.pop()
        else:
            place[n], room = room, room + 1
        for a in n.args:
            readers[a] -= 1
            if not readers[a]:
                free.append(place[a])
    return place, room


def at_once(graph: Graph, program: Callable[[Graph], Executable], target: Target, runs: int) -> AtOnce | None:
    """A small graph without a plan, its other operations made by `program`; None where a plan takes no longer."""
    operations: list[Operation] = []
    alone: dict[int, Alone] = {}
    kernels: dict[SingleKernel, None] = {}
    for n in graph.nodes:
        found = (
            Constant(to_array(n.value, n.dtype.numpy)) if n.value is not None else n.sig.memo.get("at once")
        )
        if found is None:
            found = operation_of(n.sig, target)
            if found is None:
                return None
        if found.kernel is not None and found.kernel.code is None:
            kernels[found.kernel] = None
        if type(found) is Alone:
            alone[len(operations)] = found
        operations.append(found)
    new = [k for k in kernels if not library.is_at_hand(k.digest)]
    others = {s.sig for s in alone.values() if s.sig not in _programs}
    if len(new) + len(others) > _NEW:
        return None
    load(kernels, target)
    for i, s in alone.items():
        try:
            s.program = _program(s.sig, program)
        except Exception as error:
            error.position = i  # type: ignore[attr-defined]
            raise
    return AtOnce(graph, operations, runs)


_programs: OrderedDict[Signature, Executable] = OrderedDict()


def _program(sig: Signature, program: Callable[[Graph], Executable]) -> Executable:
    """The program of one operation."""
    found = _programs.get(sig)
    if found is None:
        with isolated():
            inputs = fresh_inputs(sig.inputs)
            node = Node(sig, tuple(inputs), None, 0, None)
            outs = [pick(node, i) for i in range(len(sig.outs))] if type(sig.out) is tuple else [node]
            found = _programs[sig] = program(Graph(inputs, outs))
        if len(_programs) > _MOST:
            _programs.popitem(last=False)
    return found
