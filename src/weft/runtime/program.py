"""Programs: a graph made ready on a backend, and the cache that finds it again by its structure."""

from __future__ import annotations

import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np

from ..base.config import config
from ..base.errors import NumericError, ShapeError
from ..base.site import describe_site
from ..base.state import state
from ..ir.graph import Graph, bind_dims, verify
from ..ir.node import Node
from .backend import Commit, Executable, Fault, get_backend
from .buffer import Buffer, Value


class Program:
    """A graph with its executables: one, or one per binding of the graph's named dimensions."""

    def __init__(self, graph: Graph) -> None:
        if config.verify:
            verify(graph)
        self.graph = graph
        if config.debug >= 3:
            print(graph, file=sys.stderr)
        self.dims = graph.dims
        self.backend = get_backend(config.backend)
        self._executables: dict[Hashable, Executable] = {}
        if not self.dims:
            self._executables[()] = self.backend.compile(graph)

    def run(self, inputs: Sequence[Value], sites: Callable[[int], Any] | None = None) -> list[Buffer]:
        """Compute the outputs. `sites(i)` is the user's line of node i, if not the one it was traced at."""
        executable = self._executable(inputs)
        start = time.perf_counter()
        try:
            outs = executable.run(inputs, self._watch() if state.debug_nan else None)
        except Fault as fault:
            raise _located(fault, self.graph, sites) from None
        if config.debug >= 2:
            self._report(time.perf_counter() - start)
        return outs

    def run_donating(self, inputs: Sequence[Value], donate: Sequence[bool], commit: Commit) -> None:
        """Compute the outputs and `commit` them, all or nothing; the marked inputs' memory may be used up."""
        if state.debug_nan:
            commit(self.run(inputs))
            return
        start = time.perf_counter()
        try:
            self._executable(inputs).run_donating(inputs, donate, commit)
        except Fault as fault:
            raise _located(fault, self.graph, None) from None
        if config.debug >= 2:
            self._report(time.perf_counter() - start)

    def _report(self, seconds: float) -> None:
        print(
            f"weft: {self.backend.name} ran {len(self.graph.nodes)} nodes in {seconds * 1e3:.3f} ms",
            file=sys.stderr,
        )

    def _executable(self, inputs: Sequence[Value]) -> Executable:
        return self._executables[()] if not self.dims else self._specialized(inputs)

    def _specialized(self, inputs: Sequence[Value]) -> Executable:
        sizes = dim_sizes(self.graph, [v.array.shape if isinstance(v, Buffer) else () for v in inputs])
        key = tuple(sorted(sizes.items()))
        found = self._executables.get(key)
        if found is None:
            if len(self._executables) > 64:
                self._executables.clear()
            found = self._executables[key] = self.backend.compile(bind_dims(self.graph, sizes))
        return found

    def _watch(self) -> Callable[[int, Sequence[np.ndarray]], None]:
        nodes = self.graph.nodes

        def observe(position: int, arrays: Sequence[np.ndarray]) -> None:
            node = nodes[position]
            for a in arrays:
                if a.dtype.kind in "fc" and not np.all(np.isfinite(a)):
                    what = "NaN" if np.any(np.isnan(a)) else "infinity"
                    types = ", ".join(x.describe() for x in node.sig.inputs)
                    error = NumericError(f"{_title(node)} made the first {what} from operands {types}")
                    raise Fault(position, error)

        return observe


def _title(node: Node) -> str:
    return str(node.attrs.get("name", node.prim.name))


def _located(fault: Fault, graph: Graph, sites: Callable[[int], Any] | None) -> Exception:
    node = graph.nodes[fault.position]
    where = describe_site(sites(fault.position) if sites is not None else node.site)
    return type(fault.error)(f"{fault.error}" + (f" (asked for at {where})" if where else ""))


def dim_sizes(graph: Graph, shapes: Sequence[tuple[int, ...]]) -> dict[str, int]:
    """The sizes of the named dimensions, read off the shapes of the inputs."""
    sizes: dict[str, int] = {}
    for aval, shape in zip(graph.in_avals, shapes, strict=True):
        if len(shape) != aval.ndim:
            raise ShapeError(f"an input of {aval.ndim} dimensions is expected, got shape {shape}")
        for want, got in zip(aval.shape, shape, strict=True):
            if not isinstance(want, int) and len(want.names) == 1 and want.terms == {tuple(want.names): 1}:
                (name,) = want.names
                if sizes.setdefault(name, got) != got:
                    raise ShapeError(f"dimension {name!r} is {sizes[name]} in one input and {got} in another")
    for aval, shape in zip(graph.in_avals, shapes, strict=True):
        bound = tuple([s if isinstance(s, int) else s.bind(sizes) for s in aval.shape])
        if bound != shape:
            raise ShapeError(f"an input of shape {aval.shape} is expected, got {shape}")
    return sizes


class ProgramCache:
    """What was made for each structure, the least recently used dropped first."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.hits = 0  #: flushes that found a program
        self.misses = 0  #: flushes that had one made
        self._found: OrderedDict[Hashable, Any] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        found = self._found.get(key)
        if found is not None:
            self._found.move_to_end(key)
            return found
        found = self._found[key] = make()
        if len(self._found) > self.limit:
            self._found.popitem(last=False)
        return found

    def clear(self) -> None:
        self._found.clear()

    def __len__(self) -> int:
        return len(self._found)
