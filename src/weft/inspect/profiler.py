"""Where the time of programs goes: kernel by kernel, as a table and as a trace for a viewer."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from ..backends.cpu.peak import Peak, peak
from ..base.atomic import Path, replacing
from ..base.errors import StateError
from ..base.site import describe_site
from ..runtime import profile as recording
from ..runtime.profile import Recorder, Task
from .count import work_of_node

_LONGEST = 46


@dataclass
class ProfileRow:
    """The calls of one kernel (on the reference backend: of one node), or of all that is alike."""

    kind: str  #: "kernel", "host" (a step that Python makes), "node", "program" (what is not in its kernels), "compile"
    names: tuple[str, ...]  #: the operations in it, as the user called them
    lines: tuple[str, ...]  #: the user's lines that asked for them: `file.py:12, in train`
    detail: str  #: types of its results
    calls: int
    seconds: float  #: in all calls, without what other rows count
    flops: int  #: of one call; a multiply-add is two
    bytes: int  #: that one call must at least read and write
    bits: int  #: of the floats that it computes with

    @property
    def gflops(self) -> float:
        """10^9 operations a second."""
        return self.flops * self.calls / max(self.seconds, 1e-9) / 1e9

    @property
    def gbytes(self) -> float:
        """10^9 bytes a second."""
        return self.bytes * self.calls / max(self.seconds, 1e-9) / 1e9

    def percent(self, at_most: Peak) -> float:
        """How much of what the machine can do: of its arithmetic or of its memory, whichever limits this kernel.

        More than 100 is possible where data come from the caches, which are quicker than memory.
        """
        least = max(self.flops / at_most.flops(self.bits), self.bytes / at_most.bandwidth)
        return 100 * least * self.calls / max(self.seconds, 1e-9)


class Profile:
    """What ran while the profile was open; prints as a table. See `profile`."""

    def __init__(self) -> None:
        self._recorder: Recorder | None = None

    def __enter__(self) -> Profile:
        self._recorder = recording.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        recording.stop(self._recorded)

    @property
    def _recorded(self) -> Recorder:
        if self._recorder is None:
            raise StateError("this profile has not been entered: `with weft.profile() as p: ...`")
        return self._recorder

    @property
    def seconds(self) -> float:
        """From entering the block to leaving it (or to now)."""
        found = self._recorded
        return ((found.ended or time.perf_counter_ns()) - found.began) / 1e9

    @property
    def rows(self) -> list[ProfileRow]:
        """What took the time, the most first."""
        rows: dict[Any, ProfileRow] = {}
        for task, total in list(self._recorded.totals.items()):
            lines = tuple(dict.fromkeys([t for s in task.sites if (t := describe_site(s))]))
            flops, read, written = _work(task)
            about = (task.kind, task.names, lines, task.detail)
            key = (about, flops, read + written, task.bits)  # a layer may make the same of more, or of less
            row = rows.get(key)
            if row is None:
                row = rows[key] = ProfileRow(*about, 0, 0.0, *key[1:])
            row.calls += total.calls
            row.seconds += total.nanoseconds / 1e9
        return sorted(rows.values(), key=lambda r: -r.seconds)

    def table(self, most: int = 40) -> str:
        """The rows as text, at most so many of them."""
        at_most, rows = peak(), self.rows
        total = sum(r.seconds for r in rows)
        head = ("time ms", "%", "calls", "us/call", "GFLOP/s", "GB/s", "peak %", "operations", "lines")
        cells = [_cells(r, total, at_most) for r in rows[:most]]
        widths = [max(len(c[i]) for c in [head, *cells]) for i in range(len(head))]
        numbers = len(head) - 2

        def text(row: tuple[str, ...]) -> str:
            padded = [c.rjust(w) if i < numbers else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths))]
            return "  ".join(padded).rstrip()

        left = rows[most:]
        more = [f"and {len(left)} more, {1e3 * sum(r.seconds for r in left):.3f} ms"] if left else []
        return "\n".join([self._title(rows, at_most), text(head), *map(text, cells), *more])

    def _title(self, rows: list[ProfileRow], at_most: Peak) -> str:
        total = sum(r.seconds for r in rows)
        threads = f"{at_most.threads} thread" + ("s" if at_most.threads > 1 else "")
        narrow = any(r.bits == 16 for r in rows)
        halves = f" ({at_most.flops16 / 1e9:.0f} in products of bfloat16)" if narrow else ""
        return (
            f"profile: {1e3 * self.seconds:.3f} ms, of which {1e3 * total:.3f} ms in programs; {threads}, at most "
            f"{at_most.flops32 / 1e9:.0f} GFLOP/s{halves} and {at_most.bandwidth / 1e9:.1f} GB/s"
        )

    __str__ = table

    def __repr__(self) -> str:
        return f"<profile of {self.seconds:.3f} s, {len(self._recorded.totals)} kernels and other tasks>"

    def export(self, path: Path) -> None:
        """Write a trace for Perfetto (ui.perfetto.dev) or Chrome (chrome://tracing): JSON, whole or not at all."""
        text = json.dumps(self._trace(), separators=(",", ":"))
        with replacing(path) as file:
            file.write(text.encode())

    def _trace(self) -> dict[str, Any]:
        found, process = self._recorded, os.getpid()
        events: list[dict[str, Any]] = []
        number = {thread: i for i, thread in enumerate(found.threads)}
        for thread, name in found.threads.items():
            named = {"ph": "M", "name": "thread_name", "pid": process, "tid": number[thread]}
            events.append({**named, "args": {"name": name}})
        facts: dict[Task, dict[str, Any]] = {}
        for task, begin, end, thread in found.events:
            known = facts.get(task)
            if known is None:
                known = facts[task] = _facts(task)
            at, long = (begin - found.began) / 1e3, (end - begin) / 1e3
            events.append({"ph": "X", **known, "ts": at, "dur": long, "pid": process, "tid": number[thread]})
        about = {"events that were too many to keep": found.dropped} if found.dropped else {}
        return {"traceEvents": events, "displayTimeUnit": "ms", "otherData": about}


def profile() -> Profile:
    """Measure where the time of programs goes, inside a `with` block.

        with weft.profile() as p:
            for x, y in batches:
                step(x, y)
        print(p)  # a table: time, calls, GFLOP/s, GB/s, percentage of the machine's peak, operations, lines
        p.export("trace.json")  # for ui.perfetto.dev

    On the compiled backend a row is a kernel: the operations in it, by the names that you called them by (`.vjp`
    stands behind those of the backward pass), and the lines where you did. On the reference backend it is a node.
    Results are the same, to the bit, and outside the block nothing is slower. One profile can run at a time; it sees
    all threads.

    Raises:
        StateError: on entering, if another profile is running.
    """
    return Profile()


def _work(task: Task) -> tuple[int, int, int]:
    """Operations, bytes read, bytes written."""
    if task.flops is not None:
        return task.flops, task.read or 0, task.written or 0
    return work_of_node(task.node) if task.node is not None else (0, 0, 0)


_TITLES = {"program": "running {}", "compile": "making {}"}


def _cells(row: ProfileRow, total: float, at_most: Peak) -> tuple[str, ...]:
    names = _TITLES.get(row.kind, "{}").format(", ".join(row.names))
    what = f"{_short(names)} {row.detail if len(row.detail) <= _LONGEST else ''}".strip()
    counted = row.flops or row.bytes
    return (
        f"{1e3 * row.seconds:.3f}",
        f"{100 * row.seconds / max(total, 1e-9):.1f}",
        str(row.calls),
        f"{1e6 * row.seconds / row.calls:.1f}",
        f"{row.gflops:.1f}" if row.flops else "",
        f"{row.gbytes:.1f}" if row.bytes else "",
        f"{row.percent(at_most):.0f}" if counted else "",
        what + (" (host)" if row.kind == "host" else ""),
        ", ".join(_brief(row.lines)),
    )


def _brief(lines: Iterable[str]) -> list[str]:
    """`train.py:12` for `/home/me/train.py:12, in step`, neighbours once."""
    return list(dict.fromkeys([os.path.basename(line.rpartition(", in ")[0]) for line in lines]))


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _facts(task: Task) -> dict[str, Any]:
    flops, read, written = _work(task)
    args = {
        "operations": ", ".join(task.names),
        "lines": "; ".join(dict.fromkeys([t for s in task.sites if (t := describe_site(s))])),
        "results": task.detail,
        "flops": flops,
        "bytes read": read,
        "bytes written": written,
    }
    name = _TITLES.get(task.kind, "{}").format(_short(", ".join(task.names)))
    return {"name": name, "cat": task.kind, "args": {k: v for k, v in args.items() if v}}
