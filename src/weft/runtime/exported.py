"""A program taken out of the process that traced it: what files, servers and exporters start from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..base.errors import GraphError
from ..base.pytree import Structure
from ..ir.graph import Graph


@dataclass(frozen=True)
class Fixed:
    """A leaf of the arguments or of the result that is not a tensor: the value it had when the program was traced."""

    value: Any


@dataclass(frozen=True)
class ExportedProgram:
    """A traced function as data.

    The graph's inputs are the tensors among the leaves of the arguments, then the state; its outputs are the
    tensors among the leaves of the result, then the new values of the state that the function rebinds. Dimensions
    may be open.
    """

    name: str
    graph: Graph
    in_structure: Structure  #: of `(args, kwargs)`
    out_structure: Structure  #: of the result
    arguments: tuple[
        str | Fixed, ...
    ]  #: for each leaf of the arguments: a tensor's name, or what is fixed there
    results: tuple[
        Fixed | None, ...
    ]  #: for each leaf of the result: None for a tensor, or what is fixed there
    state: tuple[tuple[str, np.ndarray], ...] = field(repr=False)  #: name and value of each captured tensor
    updates: tuple[int, ...] = ()  #: for each trailing output, the number of the state tensor it replaces

    @property
    def input_names(self) -> tuple[str, ...]:
        """The names of the tensor arguments, in the order of the graph's inputs."""
        return tuple([a for a in self.arguments if isinstance(a, str)])

    @property
    def tensor_results(self) -> int:
        """How many of the graph's outputs are results."""
        return sum(r is None for r in self.results)

    def __post_init__(self) -> None:
        kinds = [s.kind for s in self.in_structure.children]
        if self.in_structure.kind is not tuple or kinds != [tuple, dict]:
            raise GraphError("the structure of a program's arguments is that of a pair (args, kwargs)")
        first, last = len(self.input_names), self.tensor_results
        ins, outs = self.graph.in_avals, self.graph.out_avals
        if (len(self.arguments), len(self.results)) != (self.in_structure.size, self.out_structure.size):
            raise GraphError("the leaves of a program's arguments and results do not fit their structures")
        if len(ins) != first + len(self.state) or len(outs) != last + len(self.updates):
            raise GraphError(
                f"a graph of {len(ins)} inputs and {len(outs)} outputs does not fit {first} arguments, "
                f"{len(self.state)} state tensors, {last} results and {len(self.updates)} updates"
            )
        if len({name for name, _ in self.state}) != len(self.state):
            raise GraphError("two state tensors of a program have one name")
        for (name, value), aval in zip(self.state, ins[first:], strict=True):
            if value.shape != aval.shape or value.dtype != aval.dtype.numpy:
                raise GraphError(
                    f"state {name!r} is {value.dtype} {value.shape}, the graph takes {aval.describe()}"
                )
        for i, out in zip(self.updates, outs[last:], strict=True):
            if not 0 <= i < len(self.state) or out is not ins[first + i]:
                raise GraphError(f"update {i} of a program does not fit a state tensor")
