"""A program taken out of the process that traced it: what files, servers and exporters start from."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..base.errors import GraphError
from ..base.pytree import Structure
from ..ir.graph import Graph


@dataclass(frozen=True)
class ExportedProgram:
    """A traced function as data.

    - `graph`: its inputs are the leaves of the arguments, then the state; its outputs are the leaves of the
      result, then the new values of the state that the function rebinds. Dimensions may be open.
    - `in_structure`: the structure of `(args, kwargs)`; `out_structure`: that of the result
    - `input_names`: a readable name for each argument leaf, `x` or `batch['mask']`
    - `state`: name and value of each captured tensor (parameters, buffers, the random generator's counter)
    - `updates`: for each trailing output, the position in `state` of the tensor it is the new value of
    """

    graph: Graph
    in_structure: Structure
    out_structure: Structure
    input_names: tuple[str, ...]
    state: tuple[tuple[str, np.ndarray], ...] = field(repr=False)
    updates: tuple[int, ...] = ()
    name: str = "program"

    def __post_init__(self) -> None:
        arguments, results = self.in_structure.size, self.out_structure.size
        if len(self.input_names) != arguments or len(self.graph.inputs) != arguments + len(self.state):
            raise GraphError(
                f"a graph of {len(self.graph.inputs)} inputs does not fit {len(self.input_names)} names of "
                f"{arguments} arguments and {len(self.state)} state tensors"
            )
        if len(self.graph.outputs) != results + len(self.updates):
            raise GraphError(
                f"a graph of {len(self.graph.outputs)} outputs does not fit {results} results and "
                f"{len(self.updates)} updates"
            )
        if len({name for name, _ in self.state}) != len(self.state):
            raise GraphError("two state tensors have the same name")
        for (name, value), aval in zip(self.state, self.graph.in_avals[arguments:], strict=True):
            if value.shape != aval.shape or value.dtype != aval.dtype.numpy:
                raise GraphError(f"state {name!r} is {value.dtype} {value.shape}, the graph takes {aval.describe()}")
        for i, out in zip(self.updates, self.graph.out_avals[results:], strict=True):
            if not 0 <= i < len(self.state) or out is not self.graph.in_avals[arguments + i]:
                raise GraphError(f"update {i} does not fit a state tensor")
