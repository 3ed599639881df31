"""Graphs that are seen for the first time, one operation after the other.

To plan the kernels of a graph takes a millisecond or two, many times as long as to compute a few thousand elements. So
a small graph runs without a plan at first: NumPy moves and compares elements, nearly all operations have generic
kernels of their own, and the others are programs of one operation, which graphs share. The results have the bits that
those of the planned graph have (docs/decisions/0029-at-once.md).
"""

from __future__ import annotations

from collections import OrderedDict
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

    __slots__ = ("_again", "_arguments", "_operations", "_results", "_types", "runs")

    def __init__(
        self, graph: Graph, number: Mapping[Node, int], operations: Sequence[Operation], runs: int
    ) -> None:
        self.runs = runs
        self._types = tuple([n.dtype.numpy for n in graph.inputs])
        self._operations = tuple(operations)
        self._arguments = tuple([tuple([number[a] for a in n.args]) for n in graph.nodes])
        self._results = tuple([number[n] for n in graph.outputs])
        #: whether each result may lie where an input does, or another result: then it is copied
        again: list[bool] = []
        seen = {number[n] for n in graph.inputs}
        seen.update([k for k, o in enumerate(operations, len(seen)) if o.shares])
        for i in self._results:
            again.append(i in seen)
            seen.add(i)
        self._again = tuple(again)

    def run(self, inputs: Sequence[Value], observe: Observer | None = None) -> list[Buffer]:
        values: list[Any] = [
            v if isinstance(v, Buffer) else Buffer(to_array(v, t))
            for v, t in zip(inputs, self._types, strict=True)
        ]
        try:
            for operation, args in zip(self._operations, self._arguments, strict=True):
                values.append(operation([values[i] for i in args]))
        except Fault as fault:
            raise Fault(len(values) - len(inputs), fault.error) from None
        outs = zip(self._results, self._again, strict=True)
        return [values[i].copy() if again else values[i] for i, again in outs]

    def standing(self, steady: Collection[int] = (), replaced: Mapping[int, int | None] = NOTHING) -> None:
        """Nothing is laid out for calls that follow one another."""


def at_once(graph: Graph, program: Callable[[Graph], Executable], target: Target, runs: int) -> AtOnce | None:
    """A small graph without a plan, its other operations made by `program`; None where a plan takes no longer."""
    number = {n: i for i, n in enumerate(graph.inputs)}
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
        number[n] = len(number)
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
    return AtOnce(graph, number, operations, runs)


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
