"""The CPU backend: small graphs run at once, all others, and those that recur, are planned and compiled."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from ...ir.graph import Graph
from ...runtime.threads import get_num_threads
from .at_once import AtOnce, at_once
from .processor import host_target

if TYPE_CHECKING:
    from .program import CpuProgram


#: Runs of a graph after which it is worth compiling, at least; of one operation so many more, of several as many
#: fewer: to run operation by operation takes longer with each, to plan takes a while even for one.
_EARLY, _MORE = 32, 256

#: And so many times as many where nothing has been planned before: to import the planner takes as long as a few plans.
_UNPLANNED = 4


class CpuBackend:
    """Compiles graphs to native code."""

    name = "cpu"

    def __init__(self) -> None:
        self._has_planned = False

    def compile(self, graph: Graph, recurs: bool = False, steady: Collection[int] = ()) -> CpuProgram:
        from .program import program_of  # the planner: what runs at once needs none of it

        self._has_planned = True
        return program_of(graph, recurs, steady)

    def at_once(self, graph: Graph) -> AtOnce | None:
        runs = _EARLY + _MORE // max(len(graph.nodes), 1)
        return at_once(graph, self.compile, host_target(), runs if self._has_planned else _UNPLANNED * runs)

    def describe(self) -> str:
        target = host_target()
        return (
            f"the cpu backend: {target.name}, vectors of {8 * target.vector_bytes} bits, "
            f"{get_num_threads()} threads"
        )
