"""The passes, in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..base.config import config
from ..ir.graph import Graph, verify
from .cse import eliminate_common
from .dead import remove_dead
from .decompose import decompose
from .simplify import simplify

Pass = Callable[[Graph], Graph]

#: Every pass keeps the meaning of the graph bit for bit and does nothing the second time.
PASSES: tuple[tuple[str, Pass], ...] = (
    ("dead", remove_dead),
    ("decompose", decompose),
    ("simplify", simplify),
    ("cse", eliminate_common),
)


#: Sees every graph on the way, with the name of the pass that made it.
Watch = Callable[[str, Graph], None]


def run_passes(
    graph: Graph, watch: Watch | None = None, passes: Sequence[tuple[str, Pass]] = PASSES
) -> Graph:
    """`graph` after all passes; `watch(name, graph)` sees it after each."""
    for name, step in passes:
        before, graph = graph, step(graph)
        if config.verify and graph is not before:
            verify(graph)
        if watch is not None:
            watch(name, graph)
    return graph
