"""What can be looked at: anything that is a graph, has one, or waits to be computed by one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..arrays.compile import Compiled, Traced
from ..arrays.tensor import Tensor
from ..base.errors import ArgumentError
from ..ir.graph import Graph, extract, toposort
from ..ir.shape import Size
from ..runtime.exported import ExportedProgram


@dataclass(frozen=True)
class Subject:
    """A graph with the names that people know its inputs by, and which of them are state (parameters, statistics)."""

    title: str
    graph: Graph
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    state: frozenset[int] = frozenset()  #: positions among the inputs

    @property
    def steady(self) -> frozenset[int]:
        """Positions of the state that a run does not change."""
        return frozenset([i for i in self.state if f"new {self.input_names[i]}" not in self.output_names])

    @property
    def parameters(self) -> Size:
        """The number of elements of the state and of array constants."""
        held = [self.graph.inputs[i] for i in sorted(self.state)]
        total: Size = 0
        for node in [*held, *[c for c in self.graph.constants if c.shape != ()]]:
            total = total + node.size
        return total


def subject_of(obj: Any) -> Subject:
    """The graph behind `obj`: a `Graph`, a compiled function (its newest program), one of its programs, a program
    loaded from a file, or a tensor (the part of the graph that has not been computed yet)."""
    if isinstance(obj, Subject):
        return obj
    if isinstance(obj, Graph):
        return Subject(
            "graph", obj, tuple([f"input{i}" for i in range(len(obj.inputs))]), _results(len(obj.outputs))
        )
    if isinstance(obj, Tensor):
        return _pending(obj)
    if isinstance(obj, Compiled):
        if not obj.programs:
            raise ArgumentError(
                f"{obj.__name__} has not been called or traced yet; there is no graph to look at"
            )
        obj = obj.programs[-1]
    if isinstance(obj, Traced):
        found = obj.capture
        changed = [f"new {n}" for n in _names_of(found.rebound, found.captured, found.names)]
        changed += [
            f"gradient of {n}"
            for n in _names_of([c for c, exists in found.grads if exists], found.captured, found.names)
        ]
        outputs = (*_results(found.tensors), *changed)
        return _program(obj.name, obj.graph, tuple(obj.arguments), tuple(found.names), outputs)
    exported = getattr(obj, "exported", obj)
    if isinstance(exported, ExportedProgram):
        names = tuple([n for n, _ in exported.state])
        outputs = (*_results(exported.tensor_results), *[f"new {names[i]}" for i in exported.updates])
        return _program(exported.name, exported.graph, exported.input_names, names, outputs)
    raise ArgumentError(
        f"a value of type {type(obj).__name__} has no graph; pass a compiled function, a Graph or a tensor"
    )


def _results(count: int) -> tuple[str, ...]:
    return ("result",) if count == 1 else tuple([f"result {i}" for i in range(count)])


def _names_of(cells: list[Any], known: list[Any], names: list[str]) -> list[str]:
    return [names[known.index(c)] if c in known else "state" for c in cells]


def _program(
    name: str, graph: Graph, arguments: tuple[str, ...], state: tuple[str, ...], outputs: tuple[str, ...]
) -> Subject:
    first = len(arguments)
    return Subject(name, graph, (*arguments, *state), outputs, frozenset(range(first, first + len(state))))


def _pending(tensor: Tensor) -> Subject:
    root = tensor._node
    order = toposort([root], lambda n: () if n.value is not None else n.args)
    leaves = [
        n for n in order if n.value is not None and not isinstance(n.value, (bool, int, float, complex))
    ]
    names = [f"value{i}" for i in range(len(leaves))]
    held = [
        i for i, n in enumerate(leaves) if (cell := n.cell and n.cell()) is not None and cell.requires_grad
    ]
    return Subject("tensor", extract([root], leaves), tuple(names), ("result",), frozenset(held))
