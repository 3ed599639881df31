"""One program of a compiled function: how it gets its inputs from the world outside, and what it puts back."""

from __future__ import annotations

import copy
import operator
from collections import deque
from typing import Any
from weakref import ref

import numpy as np

from ..autodiff.transforms import foreseeing
from ..base.checked import describe
from ..base.errors import ArgumentError, ShapeError, TraceError
from ..base.pytree import LEAF as LEAF_STRUCTURE
from ..base.pytree import Structure, flatten, unflatten
from ..base.state import state, version
from ..ir.dtype import dtype as as_dtype
from ..ir.graph import Graph
from ..ir.node import GRAD, LEAF, Aval, Node, make_node
from ..ir.primitive import leaf, leaf_prim, results
from ..ops.control import call
from ..runtime.buffer import Buffer
from ..runtime.exported import Fixed
from ..runtime.program import Program
from .capture import Capture
from .cell import Cell, value_of
from .creation import tensor
from .tensor import Tensor

_set_node, _set_grad = Cell.node.__set__, Cell._grad.__set__  # type: ignore[attr-defined]


def from_numpy(x: np.ndarray | np.inexact) -> Any:
    """What a NumPy array or floating scalar is to an operation on tensors: float64 scalars are Python numbers."""
    if isinstance(x, float):
        return float(x)
    if isinstance(x, complex):
        return complex(x)
    return tensor(x)


def is_weak(x: Any) -> bool:
    """Whether an argument is a number that programs take as a run-time input."""
    return type(x) in (float, complex)


class Traced:
    """One program of a compiled function: a capture, made executable when it is first run."""

    def __init__(
        self,
        name: str,
        found: Capture,
        structure: Structure,
        leaves: list[str | Fixed],
        resized: bool = False,
    ) -> None:
        """`resized`: the function has programs for tensors of several other sizes already."""
        self.name = name
        self._resized = resized
        self.capture = found
        self.structure = structure  #: of (args, kwargs)
        self.leaves = leaves  #: for each leaf of the arguments: a tensor's name, or what is fixed there
        self.arguments = [x for x in leaves if isinstance(x, str)]  #: names of the tensor arguments
        self.once = bool(found.changed)  #: it changed something that it may depend on, and cannot do so again
        self.life = found.life
        self.gradients = found.guards.flags[0]  #: whether it was traced with gradients recorded
        self._held: list[Cell] = []
        self._program: list[Program] = []  # none or one, shared by copies
        self.stateful = bool(found.rebound or found.grads)  #: it changes what is outside
        self._changes = frozenset(found.rebound)
        self.signatures = [leaf_prim.signature((), (a,)) for a in found.graph.out_avals]
        self._tensors = found.tensors
        self._fixed = not found.graph.dims

    @property
    def graph(self) -> Graph:
        """The program as a graph: inputs are the arguments, then the captured state."""
        return self.capture.graph

    def __str__(self) -> str:
        return str(self.graph)

    @property
    def program(self) -> Program:
        if not self._program:
            steady = self.capture.steady()
            self._program.append(
                Program(self.capture.graph, self.name, recurs=True, steady=steady, resized=self._resized)
            )
        return self._program[0]

    def held(self) -> Traced:
        """The same program for somebody to keep: what it captured stays alive with it."""
        kept = copy.copy(self)
        kept._held = [c for r in (*self.capture.captured, *self.capture.rebound) if (c := r()) is not None]
        return kept

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run on arguments of the structure and types that it was traced for; open dimensions take any size. NumPy
        arrays stand for tensors. What is no tensor must be what it was: the program was made for that."""
        leaves, structure = flatten((args, kwargs))
        if structure != self.structure:
            raise ArgumentError(
                f"{self.name} was traced for arguments of structure {self.structure!r}, got {structure!r}"
            )
        dynamic = [
            self._given(x, want)
            for x, want in zip(leaves, self.leaves, strict=True)
            if not (isinstance(want, Fixed) and self._is_fixed(x, want.value))
        ]
        for x, name, want in zip(dynamic, self.arguments, self.graph.in_avals, strict=False):
            if isinstance(x, Tensor) and (x.dtype is not want.dtype or x.ndim != want.ndim):
                raise ShapeError(f"{name} must be {want.describe()}, got {x._node.aval.describe()}")
        if self.stateful:
            self.refuse_captured([x._cell.node for x in dynamic if isinstance(x, Tensor)])
        return self.run([value_of(x._cell) if isinstance(x, Tensor) else x for x in dynamic])

    def _is_fixed(self, x: Any, value: Any) -> bool:
        if x is value or (type(x) is type(value) and x == value):
            return True
        raise ArgumentError(
            f"{self.name} was traced with an argument fixed at {value!r}, got {describe(x)}; trace it again for that"
        )

    def _given(self, x: Any, name: Any) -> Any:
        """A tensor or a number for the argument of a name."""
        if isinstance(x, (np.ndarray, np.inexact)):
            x = from_numpy(x)
        if not (isinstance(x, Tensor) or is_weak(x)):
            raise ArgumentError(f"{name} of {self.name} must be a tensor, got {describe(x)}")
        return x

    def refuse_captured(self, nodes: list[Node]) -> None:
        """Raise where an argument is also a tensor that the function captured and changes: it would be seen as it was
        before, whichever way it is read."""
        changes = self._changes
        if self.capture.owned:
            self.capture.follow_gradients()
            changes = frozenset(self.capture.rebound)
        for node, name in zip(nodes, self.arguments, strict=False):
            if node.cell in changes:
                raise TraceError(
                    f"the argument {name} of {self.name} ({node.aval.describe()}) is a tensor that the function also "
                    "reads or changes from outside, in place; the argument would keep the old value. Either pass the "
                    "tensor or let the function capture it, not both; or pass a copy: x.detach()"
                )

    def run(self, values: list[Any]) -> Any:
        """Run on argument values; state outside is replaced when everything has been computed."""
        found = self.capture
        if found.owned:
            found.follow_gradients()
        for reference in found.captured:
            cell = reference()
            if cell is None:
                found.cells()  # says so
            value = cell.node.value  # type: ignore[union-attr]
            values.append(value if value is not None else value_of(cell))  # type: ignore[arg-type]
        if not self.stateful:
            return self._results(self._leaves(self.program.run(values)))
        rebound, graded = found.rebound_cells(), found.gradient_cells()
        nodes = self._leaves(self.program.run(values))
        self._commit(nodes[self._tensors :], rebound, graded)
        return self._results(nodes[: self._tensors])

    def _leaves(self, outs: list[Buffer]) -> list[Node]:
        """Nodes that have the outputs as their values."""
        if self._fixed:
            return [Node(s, (), b, 0, None) for s, b in zip(self.signatures, outs, strict=True)]
        return [_leaf(b) for b in outs]

    def _results(self, nodes: list[Node]) -> Any:
        """What the function returned, with tensors that hold the first outputs."""
        return returned(self.capture.result_structure, self.capture.results, [Tensor(n) for n in nodes])

    def _commit(self, nodes: list[Node], rebound: list[Cell], graded: list[tuple[Cell, bool]]) -> None:
        """Make the new state current, in one step that no signal can cut in two: the `deque(map(...))`."""
        changed = False
        for cell, node in zip(rebound, nodes, strict=False):
            if cell.requires_grad:
                node.flags = GRAD | LEAF
            changed = changed or node.sig.out is not cell.node.sig.out
            node.cell = ref(cell)
        rest = iter(nodes[len(rebound) :])
        cells = [cell for cell, _ in graded]
        grads = [Tensor(next(rest)) if exists else None for _, exists in graded]
        changed = changed or any((cell._grad is not None) is not exists for cell, exists in graded)
        if changed:  # other programs assume the types of tensors, and whether gradients exist
            version.bump()
        setters = [_set_node] * len(rebound) + [_set_grad] * len(grads)
        deque(map(operator.call, setters, [*rebound, *cells], [*nodes[: len(rebound)], *grads]), 0)  # type: ignore[arg-type]

    def apply(self, nodes: list[Node]) -> Any:
        """The same as a pending `call` node, through which gradients flow to the captured leaves."""
        found = self.capture
        found.follow_gradients()
        args = (*nodes, *[c.node for c in found.cells()])
        sig = call.signature(found.graph.in_avals, (self.name, found.graph, None))
        need = tuple([bool(a.flags & GRAD) for a in args])
        outs = results(make_node(foreseeing(sig, need), args))
        given = iter(outs)
        out = [Tensor(next(given)) if r is None else r.value for r in found.results]
        saved = state.grad
        try:
            state.grad = False
            for cell in found.rebound_cells():
                node = next(given)
                node.flags &= ~GRAD
                cell.rebind(node)
            for cell, exists in found.gradient_cells():
                cell.grad = Tensor(next(given)) if exists else None
        finally:
            state.grad = saved
        return unflatten(found.result_structure, out)


def returned(structure: Structure, results: list[Any], tensors: list[Tensor]) -> Any:
    """What a traced function returns, the tensors in it being these; `results` as in `Capture`."""
    if structure is LEAF_STRUCTURE and tensors:
        return tensors[0]
    given = iter(tensors)
    return unflatten(structure, [next(given) if r is None else r.value for r in results])


def _leaf(buffer: Buffer) -> Node:
    array = buffer.array
    return leaf(Aval(array.shape, as_dtype(array.dtype)), buffer)
