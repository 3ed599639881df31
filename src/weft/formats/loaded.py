"""Programs that were loaded from a file: called like the functions they were saved from."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np

from ..arrays.cell import value_of
from ..arrays.creation import node_from_numpy
from ..arrays.export import revive
from ..arrays.grad import no_grad
from ..arrays.tensor import Tensor
from ..autodiff.saved import saving_results
from ..base.atomic import Path
from ..base.errors import ArgumentError, DTypeError, FormatError, ShapeError, StateError
from ..base.pytree import Structure, unflatten
from ..base.state import state
from ..ir.graph import Graph, bind_dims
from ..ir.node import GRAD, SPENT, Aval, Node
from ..ir.primitive import leaf
from ..ir.shape import show_shape
from ..ops.control import call
from ..runtime.buffer import to_array
from ..runtime.exported import ExportedProgram, Fixed
from ..runtime.program import dim_sizes
from . import container
from .program import program_from, program_parts
from .tree import tensor_of


class LoadedProgram:
    """A program with its state. Calling it takes and returns what the saved function did.

    Its tensors are in `state`, by name; what the program rebinds (statistics, an optimiser's slots) changes there.
    Gradients flow through a call, to the arguments and to those of `state` that are given `requires_grad`.
    """

    def __init__(self, exported: ExportedProgram, *, copy: bool = True) -> None:
        values = {name: np.array(value) if copy else value for name, value in exported.state}
        self.name = exported.name
        self.state: Mapping[str, Tensor] = MappingProxyType({n: tensor_of(v) for n, v in values.items()})
        # Types are kept, memory is not: an array of one element, repeated, stands for each state tensor.
        bare = tuple([(n, np.broadcast_to(np.zeros((), v.dtype), v.shape)) for n, v in values.items()])
        self._form = exported = replace(exported, state=bare)
        self._cells = [t._cell for t in self.state.values()]
        self._rebound = [self._cells[i] for i in exported.updates]
        self._traced = revive(exported, self._cells)
        self._names = _positional_names(exported)

    @property
    def graph(self) -> Graph:
        """The program as a graph: inputs are the arguments, then the state."""
        return self._form.graph

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the program. Arguments must have the structure, dtypes and shapes it was saved with; open
        dimensions take any size. Numbers, lists of them and NumPy arrays stand for tensors; positional arguments may
        be given by name."""
        given = self._by_position(args, dict(kwargs))
        found = list(_match(given, self._form.in_structure, self.name))
        avals = iter(self.graph.in_avals)
        nodes = []
        for want, (path, x) in zip(self._form.arguments, found, strict=True):
            if isinstance(want, Fixed):
                if type(x) is not type(want.value) or x != want.value:
                    raise ArgumentError(
                        f"{self.name} was saved with {path} fixed at {want.value!r}, got {x!r}"
                    )
            else:
                nodes.append(_argument(x, want, next(avals)))
        sizes = self._sizes(nodes)
        bits = state.active & ~(state.tracing | SPENT)
        tracked = state.grad and any(n.flags & bits for n in [*nodes, *[c.node for c in self._cells]])
        if tracked or state.traces:
            return self._apply(nodes, sizes)
        return self._traced.run([_value(n) for n in nodes])

    def _by_position(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Arguments that were positional when the program was saved, moved from the keywords to their places."""
        out = list(args)
        for name in self._names[len(args) :]:
            if name is None or name not in kwargs:
                break
            out.append(kwargs.pop(name))
        return tuple(out), kwargs

    def _sizes(self, nodes: list[Node]) -> dict[str, int]:
        wanted = self.graph.in_avals
        for name, node, want in zip(self._form.input_names, nodes, wanted, strict=False):
            if node.ndim != len(want.shape) or any(
                type(w) is int and w != n for w, n in zip(want.shape, node.shape, strict=True)
            ):
                raise ShapeError(
                    f"{self.name} takes {name} of shape {show_shape(want.shape)}, got {show_shape(node.shape)}"
                )
        try:
            return dim_sizes(self.graph, [*[n.shape for n in nodes], *[c.node.shape for c in self._cells]])  # type: ignore[list-item]
        except ShapeError as e:
            raise ShapeError(f"{self.name}: {e}") from None

    def _apply(self, nodes: list[Node], sizes: dict[str, int]) -> Any:
        """The call as a pending node, part of whatever is being traced or differentiated."""
        graph = self._bound(sizes)
        args = (*nodes, *[c.node for c in self._cells])
        outs = iter(saving_results(call.signature(graph.in_avals, (self.name, graph, None)), args))
        out = [Tensor(next(outs)) if r is None else r.value for r in self._form.results]
        with no_grad():
            for cell in self._rebound:
                node = next(outs)
                node.flags &= ~GRAD
                cell.rebind(node)
        return unflatten(self._form.out_structure, out)

    def _bound(self, sizes: dict[str, int]) -> Graph:
        if not sizes:
            return self.graph
        key = ("bound", tuple(sorted(sizes.items())))
        memo = self.graph.memo
        if key not in memo:
            memo[key] = bind_dims(self.graph, sizes)
        return memo[key]

    @property
    def exported(self) -> ExportedProgram:
        """The program as data, with the state it has now."""
        now = [(name, to_array(value_of(t._cell), t.dtype.numpy)) for name, t in self.state.items()]
        return replace(self._form, state=tuple(now))

    def state_dict(self) -> dict[str, Tensor]:
        """The state by name, as a module's."""
        return {name: t.detach() for name, t in self.state.items()}

    def load_state_dict(self, given: Mapping[str, Any]) -> None:
        """Replace the state: all of it, or, if a name or a type does not fit, nothing (`StateError`)."""
        if set(given) != set(self.state):
            lacking, unknown = sorted(set(self.state) - set(given)), sorted(set(given) - set(self.state))
            raise StateError(f"the state does not fit {self.name}: missing {lacking}, unknown {unknown}")
        nodes = {name: node_from_numpy(np.asarray(x)) for name, x in given.items()}
        for name, node in nodes.items():
            want = self.state[name]._node.aval
            if node.aval is not want:
                raise StateError(
                    f"{name} must be {want.describe()}, the given state has {node.aval.describe()}"
                )
        with no_grad():
            for name, node in nodes.items():
                self.state[name]._cell.rebind(node)

    def __deepcopy__(self, memo: Any) -> LoadedProgram:
        return LoadedProgram(self.exported)

    def __reduce__(self) -> Any:
        return _from_bytes, (_to_bytes(self.exported),)

    def __str__(self) -> str:
        return str(self.graph)

    def __repr__(self) -> str:
        count = len(self._form.input_names)
        takes = ", ".join(
            f"{n}: {a!r}" for n, a in zip(self._form.input_names, self.graph.in_avals[:count], strict=True)
        )
        gives = ", ".join(map(repr, self.graph.out_avals[: self._form.tensor_results]))
        return f"<program {self.name}({takes}) -> ({gives}), {len(self.state)} state tensors>"


def load_program(path: Path) -> LoadedProgram:
    """The program in a file, with its state, ready to be called."""
    content = container.read(path)
    if content.kind != "program":
        raise FormatError(
            f"{str(path)!r} holds no program but {content.kind or 'plain weights'}; read it with weft.load"
        )
    return LoadedProgram(program_from(content), copy=False)


def _to_bytes(exported: ExportedProgram) -> bytes:
    tensors, metadata = program_parts(exported)
    return container.to_bytes(tensors, "program", metadata)


def _from_bytes(data: bytes) -> LoadedProgram:
    return LoadedProgram(program_from(container.read_bytes(data, "the pickled program")), copy=False)


def _positional_names(program: ExportedProgram) -> list[str | None]:
    """The name of each positional argument, as far as the names of the tensors in it tell."""
    leaves = iter(program.arguments)
    out: list[str | None] = []
    for child in program.in_structure.children[0].children:
        inside = [next(leaves) for _ in range(child.size)]
        out.append(next((n.partition("[")[0] for n in inside if isinstance(n, str)), None))
    return out


def _argument(x: Any, name: str, want: Aval) -> Node:
    if isinstance(x, Tensor):
        node = x._node
    elif isinstance(x, (np.ndarray, np.generic)):
        node = node_from_numpy(np.asarray(x))
    elif isinstance(x, list):
        node = node_from_numpy(_from_list(x, name, want))
    elif isinstance(x, (bool, int, float, complex)):
        if want.shape != () or "buifc".index(_kind(x)) > "buifc".index(want.dtype.kind):
            raise DTypeError(f"{name} must be {want.describe()}, got the number {x!r}")
        return leaf(want, x)
    else:
        raise ArgumentError(f"{name} must be a tensor, got a {type(x).__name__}")
    if node.dtype is not want.dtype:
        raise DTypeError(
            f"{name} must be {want.describe()}, got {node.aval.describe()}; convert it with astype"
        )
    return node


def _from_list(x: list[Any], name: str, want: Aval) -> np.ndarray:
    """Nested lists of numbers, as they come out of JSON."""
    try:
        array = np.asarray(x)
    except ValueError:
        raise ShapeError(f"{name} must be {want.describe()}, got lists of different lengths") from None
    order = "buifc"
    if array.size and (
        array.dtype.kind not in order or order.index(array.dtype.kind) > order.index(want.dtype.kind)
    ):
        raise DTypeError(f"{name} must be {want.describe()}, got lists of {array.dtype}")
    return array.astype(want.dtype.numpy)


def _kind(x: bool | int | float | complex) -> str:
    return next(
        kind for of, kind in ((bool, "b"), (int, "u"), (float, "f"), (complex, "c")) if isinstance(x, of)
    )


def _value(node: Node) -> Any:
    if node.value is None:
        return value_of(Tensor(node)._cell)
    return node.value


def _match(value: Any, structure: Structure, name: str) -> Iterator[tuple[str, Any]]:
    """The leaves of `value` at the places of those of `structure`, each with its path, or an error with the path."""
    given, kwargs = value
    positional, keyword = structure.children
    if len(given) != len(positional.children) or set(kwargs) != set(keyword.aux):
        wants = [f"{len(positional.children)} positional arguments", *[f"{k}=" for k in keyword.aux]]
        got = [f"{len(given)}", *[f"{k}=" for k in kwargs]]
        raise ArgumentError(f"{name} takes {', '.join(wants)}; got {', '.join(got)}")
    for i, (x, s) in enumerate(zip(given, positional.children, strict=True)):
        yield from _inside(x, s, f"argument {i}")
    for k, s in zip(keyword.aux, keyword.children, strict=True):
        yield from _inside(kwargs[k], s, k)


def _inside(x: Any, s: Structure, path: str) -> Iterator[tuple[str, Any]]:
    if s.kind is None:
        yield path, x
    elif s.kind is type(None):
        if x is not None:
            raise ArgumentError(f"{path} was None when the program was saved, got a {type(x).__name__}")
    elif s.kind in (dict, OrderedDict):
        if not isinstance(x, dict) or set(x) != set(s.aux):
            got = f"the keys {list(x)!r}" if isinstance(x, dict) else f"a {type(x).__name__}"
            raise ArgumentError(f"{path} must be a dict with the keys {list(s.aux)!r}, got {got}")
        for k, child in zip(s.aux, s.children, strict=True):
            yield from _inside(x[k], child, f"{path}[{k!r}]")
    else:
        if not isinstance(x, (tuple, list)) or len(x) != len(s.children):
            got = f"{len(x)} entries" if isinstance(x, (tuple, list)) else f"a {type(x).__name__}"
            raise ArgumentError(f"{path} must be a {s.kind.__name__} of {len(s.children)} entries, got {got}")
        for i, (v, child) in enumerate(zip(x, s.children, strict=True)):
            yield from _inside(v, child, f"{path}[{i}]")
