"""The CPU backend: small graphs run at once, all others, and those that recur, are planned and compiled."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from ...ir.graph import Graph
from ...runtime.backend import Executable
from ...runtime.threads import get_num_threads
from .at_once import at_once
from .processor import host_target

if TYPE_CHECKING:
    from .program import CpuProgram


class CpuBackend:
    """Compiles graphs to native code."""

    name = "cpu"

    def compile(self, graph: Graph, recurs: bool = False, steady: Collection[int] = ()) -> CpuProgram:
        from .program import program_of  # the planner: what runs at once needs none of it

        return program_of(graph, recurs, steady)

    def at_once(self, graph: Graph) -> Executable | None:
        return at_once(graph, self.compile, host_target())

    def describe(self) -> str:
        target = host_target()
        return (
            f"the cpu backend: {target.name}, vectors of {8 * target.vector_bytes} bits, "
            f"{get_num_threads()} threads"
        )
