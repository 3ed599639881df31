"""What is measured while a profile runs: which task ran, from when to when, in which thread.

Off, it costs one look at a variable for each run of a program. Results are the same on or off: the same code runs.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..base.errors import StateError
from ..ir.node import Node

#: More events than this are counted, but not kept one by one.
MOST_EVENTS = 300_000


@dataclass(eq=False)
class Task:
    """Something that takes time: a kernel, a node, or the making or running of a whole program."""

    kind: str  #: "kernel", "host", "node", "program" or "compile"
    names: tuple[str, ...]  #: the operations in it, as the user called them
    sites: tuple[Any, ...] = ()  #: the user's lines
    detail: str = ""  #: types of its results
    flops: int | None = None  #: None: to be counted from `node`
    read: int | None = None
    written: int | None = None
    bits: int = 32  #: of the floats that it computes with
    node: Node | None = None


@dataclass
class Total:
    """The calls of one task."""

    calls: int = 0
    nanoseconds: int = 0  #: without what ran inside


@dataclass
class Recorder:
    """Collects events from all threads."""

    began: int = field(default_factory=time.perf_counter_ns)
    ended: int = 0
    totals: dict[Task, Total] = field(default_factory=dict)
    #: (task, begin, end, thread), begin and end in nanoseconds of `time.perf_counter_ns`
    events: list[tuple[Task, int, int, int]] = field(default_factory=list)
    threads: dict[int, str] = field(default_factory=dict)
    dropped: int = 0

    def __post_init__(self) -> None:
        self._local = _Open()
        self._lock = threading.Lock()

    def open(self) -> int:
        """Begin a task that others may run inside of; returns the time."""
        self._local.inside.append(0)
        return time.perf_counter_ns()

    def close(self, task: Task, begin: int) -> None:
        """End the task that was opened last."""
        end = time.perf_counter_ns()
        inside = self._local.inside.pop()
        self.count(task, 1, end - begin, inside)
        self.event(task, begin, end)

    @property
    def depth(self) -> int:
        """How many tasks are open in this thread."""
        return len(self._local.inside)

    def count(self, task: Task, calls: int, nanoseconds: int, inside: int = 0) -> None:
        """Add calls to a task's total; `inside` is the part of their time that other tasks count."""
        if self._local.inside:
            self._local.inside[-1] += nanoseconds
        with self._lock:
            total = self.totals.get(task)
            if total is None:
                total = self.totals[task] = Total()
            total.calls += calls
            total.nanoseconds += max(0, nanoseconds - inside)  # the two are read off different clocks

    def event(self, task: Task, begin: int, end: int) -> None:
        """Keep when a task ran, for the trace."""
        thread = threading.get_ident()
        with self._lock:
            if len(self.events) < MOST_EVENTS:
                self.events.append((task, begin, end, thread))
            else:
                self.dropped += 1
            if thread not in self.threads:
                self.threads[thread] = threading.current_thread().name


class _Open(threading.local):
    """For each open task of a thread, the time that tasks inside it took."""

    def __init__(self) -> None:
        self.inside: list[int] = []


#: The recorder of the profile that runs now, if one does.
recorder: Recorder | None = None


def start() -> Recorder:
    """Record from now on."""
    global recorder
    if recorder is not None:
        raise StateError("a profile is running already; only one can at a time")
    recorder = found = Recorder()
    return found


def stop(found: Recorder) -> None:
    """End a recording."""
    global recorder
    found.ended = time.perf_counter_ns()
    if recorder is found:
        recorder = None


def timed(task: Task, call: Callable[[], Any]) -> Any:
    """The result of `call`; a running profile is told how long it took."""
    found = recorder
    if found is None:
        return call()
    began = found.open()
    try:
        return call()
    finally:
        found.close(task, began)


def operation_name(node: Node) -> str:
    """What the user knows an operation by: the name of the composite, or of the primitive."""
    return str(node.attrs.get("name", node.prim.name))
