"""A program run under a profile: the clock read before and after every step, by the driver itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...base.state import NO_SITE
from ...ir.graph import Graph
from ...ir.node import Node
from ...ir.primitive import pick_prim
from ...kernel.count import work_of
from ...kernel.schedule import Step
from ...kernel.tiles import Tiles
from ...runtime.profile import Recorder, Task, operation_name
from . import threads
from .assemble import Assembled
from .driver import LOGGED, ROOM, STEP_WORDS, TIMES_WORDS
from .regions import Region
from .threads import Scratch

#: Entries in the log of a program with loops; what is beyond is counted, but not shown one by one.
_LOG = 1 << 15


def tasks_of(region: Region, source: Graph, outer: Task | None = None) -> dict[Step, Task]:
    """For each step of a region and of those inside, what a profile says of it.

    `source` is the region's graph as it was before all passes, `outer` the loop or branch that it belongs to.
    """
    found: dict[Step, Task] = {}
    for step in region.steps:
        task = found[step] = _task(step, source, outer, step in region.inner)
        if step in region.inner:
            for inside in region.inner[step].regions:
                found |= tasks_of(inside, inside.source or inside.graph, task)
    return found


def _task(step: Step, source: Graph, outer: Task | None, control: bool) -> Task:
    nodes = operations(step, source)
    names = tuple(dict.fromkeys([operation_name(n) for n in nodes])) or (step.node.prim.name,)
    sites = tuple(dict.fromkeys([n.site for n in nodes if n.site is not None and n.site[0] is not None]))
    if outer is not None:
        # Equal bodies are one graph, which has the lines of the first: those of the loop itself are always right.
        names, sites = (f"{outer.names[0]}: {names[0]}", *names[1:]), outer.sites
    written = [n for n in step.writes if type(n.sig.out) is not tuple and (n.args or n is step.node)]
    detail = ", ".join(repr(n.aval) for n in written)
    wide = isinstance(step.kernel, Tiles) and step.kernel.wide
    bits = 16 if wide else max([32, *[n.dtype.bits for n in written]])
    if control:
        return Task("kernel", names, sites, "from step to step", 0, 0, 0)
    if step.kernel is None:
        return Task("host", names, sites, detail, node=step.node, bits=bits)
    work = work_of(step)
    return Task("kernel", names, sites, detail, work.flops, work.read, work.written, bits)


def operations(step: Step, source: Graph) -> list[Node]:
    """The nodes of the graph before all passes that a step computes, or parts of them, in order."""
    known, waiting, positions = set(step.reads), list(step.writes), set()
    seen: set[Node] = set()
    while waiting:
        node = waiting.pop()
        if node in seen or (node in known and node not in step.writes):
            continue
        seen.add(node)
        waiting.extend(node.args)
        if node.value is None and node.site is not None and node.site is not NO_SITE and node.args:
            positions.add(node.site[1])
    found = [source.nodes[p] for p in sorted(positions)]
    return list(dict.fromkeys([n.args[0] if n.prim is pick_prim else n for n in found]))


class Watched:
    """Runs a program's steps and tells a recorder how long each took."""

    def __init__(
        self, region: Region, source: Graph, code: Assembled, on_host: Callable[[Step, np.ndarray], Any]
    ) -> None:
        self.tasks = tasks_of(region, source)
        self.code = code
        self.on_host = on_host

    def run(self, recorder: Recorder, words: np.ndarray, scratch: Scratch) -> None:
        """All segments of the program whose words are given."""
        for segment in self.code.segments:
            if isinstance(segment, Step):
                began = recorder.open()
                try:
                    self.on_host(segment, words)
                finally:
                    recorder.close(self.tasks[segment], began)
            else:
                self._native(recorder, words, scratch, *segment)

    def _native(
        self, recorder: Recorder, words: np.ndarray, scratch: Scratch, first: int, count: int
    ) -> None:
        owners = [
            self.tasks.get(o) if o is not None else None for o in self.code.origins[first : first + count]
        ]
        room = count if None not in owners else _LOG  # where there are jumps there may be loops
        times = np.zeros(TIMES_WORDS + 2 * count + 3 * room, np.int64)
        times[ROOM] = room
        rate = threads.nanoseconds_per_tick()
        steps = self.code.words.ctypes.data + 8 * STEP_WORDS * first
        began, tick = threads.moment()
        threads.run(steps, count, words.ctypes.data, times=times.ctypes.data, scratch=scratch)
        totals = times[TIMES_WORDS : TIMES_WORDS + 2 * count].reshape(-1, 2)
        for owner, (ticks, calls) in zip(owners, totals.tolist(), strict=True):
            if owner is not None and calls:
                recorder.count(owner, calls, int(ticks * rate))
        log = times[TIMES_WORDS + 2 * count :].reshape(-1, 3)[: times[LOGGED]]
        moments = (began + (log[:, 1:] - tick) * rate).astype(np.int64)
        for step, (begin, end) in zip(log[:, 0].tolist(), moments.tolist(), strict=True):
            owner = owners[step]
            if owner is not None:
                recorder.event(owner, begin, end)
        recorder.dropped += int(totals[:, 1].sum()) - len(log)
