"""From regions to what the driver reads: a table of steps, and where the pointers of each step's kernel come from.

Every value has a *slot*, a word that holds its address. A step's kernel takes a table of such words, copied from the
slots before the program starts. Inside loops some slots change from iteration to iteration (elements of sequences,
carries): `turn` then writes them, and the copies in the tables of the loop's kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...ir.node import Node
from ...kernel.memory import ALIGNMENT, nbytes
from ...kernel.schedule import Step
from ...ops.loops import scan, while_loop
from ...runtime.buffer import address_of
from . import control
from .regions import Control, Region, carry_range

#: Kinds of slots, in the order in which they are numbered. What a slot's word is before the program runs:
#: "input" and "output": the caller's memory; "arena": `value` bytes into the arena; "fixed": the address `value`;
#: "own": word number `value` of the program's words after the slots; "moving": nothing yet.
KINDS = ("input", "output", "arena", "fixed", "own", "moving")


@dataclass(eq=False)
class Slot:
    """A word that holds an address; `number` is known when all are."""

    kind: str
    value: int = 0
    number: int = -1


@dataclass(eq=False)
class _Turn:
    """The description of a loop's `turn`, until everything has its number."""

    count: int
    end: int = 0
    carries: list[tuple[Slot, Slot, Slot]] = field(default_factory=list)
    places: list[tuple[Slot, Slot, int, int, int]] = field(default_factory=list)

    def words(self, entries: dict[Slot, list[int]]) -> list[int]:
        moving = [c[0] for c in self.carries] + [p[0] for p in self.places]
        copies = [(word, s.number) for s in moving for word in entries.get(s, ())]
        head = [self.count, self.end, len(self.carries), len(self.places), len(copies)]
        lists = [[s.number for s in c] for c in self.carries]
        lists += [[p[0].number, p[1].number, *p[2:]] for p in self.places]
        return [*head, *[w for row in lists for w in row], *[w for row in copies for w in row]]


#: A description: numbers and slots in a list that may still change, or that of a turn.
_Words = list[Any]


class Assembler:
    """Collects the steps of a program.

    `code(kernel)` gives the address of a kernel's function, its units and the units claimed at a time;
    `constant(node)` the address of a constant; `values(kernel)` that of what a generic kernel is called with, or 0.
    """

    def __init__(
        self,
        code: Callable[[Step], tuple[int, int, int]],
        constant: Callable[[Node], int],
        values: Callable[[Step], int] = lambda step: 0,
    ) -> None:
        self.code = code
        self.constant = constant
        self.values = values
        self.slots: list[Slot] = []
        self.words: list[int] = []  #: of the steps; the offset of a table counts from the first table
        self.order: list[Slot] = []  #: the slots of all tables
        self.checked: list[
            tuple[Step, Any, Slot]
        ] = []  #: steps with a status word, their sites outside all loops
        self.segments: list[tuple[int, int] | Step] = []  #: native steps (first, count), or one of the host's
        self.origins: list[Step | None] = []  #: for each step of the table, whose it is; None for a jump
        self._controlled: Step | None = None  # the loop or branch that is being laid out
        self._own = 0  # words in use after the slots
        self._described: list[tuple[Slot, _Words | _Turn]] = []
        self._known: dict[Any, Slot] = {}
        self._base = self.slot("own", 0)
        self._base.value = -1  # the first slot itself

    def slot(self, kind: str, value: int = 0) -> Slot:
        """A new slot."""
        made = Slot(kind, value)
        self.slots.append(made)
        return made

    def _words_of_own(self, count: int) -> Slot:
        """Memory of the program's own, zero when it starts."""
        self._own += count
        return self.slot("own", self._own - count)

    @property
    def count(self) -> int:
        """How many steps there are so far."""
        return len(self.words) // 4

    # -- steps --------------------------------------------------------------------------------------------------

    def region(self, region: Region, env: dict[Node, Slot], base: int, site: Any = None) -> None:
        """Add the steps of a region whose inputs and outputs have the slots `env`; its arena begins at `base`."""
        for n in region.graph.constants:
            if n not in env:
                found = self._known.get(n)
                if found is None:
                    found = self._known[n] = self.slot("fixed", self.constant(n))
                env[n] = found
        for step in region.steps:
            for n in step.writes:
                if n not in env:
                    env[n] = self.slot("arena", base + region.arena.offsets[n])
        for step in region.steps:
            where = step.node.site if site is None else site
            if step in region.inner:
                found = region.inner[step]
                scratch = 0 if found.scratch is None else base + region.arena.offsets[found.scratch]
                outside, self._controlled = self._controlled, step
                self._control(found, step, env, scratch, where)
                self._controlled = outside
            elif step.kernel is None:
                self.segments.append(step)
            else:
                table = [env[n] for n in (*step.reads, *step.writes)]
                if step.kernel.checked:
                    table.append(self._words_of_own(1))
                    self.checked.append((step, where, table[-1]))
                values = self.values(step)
                if values:
                    table.append(self.slot("fixed", values))
                self._step(step, *self.code(step), table)

    def _step(
        self, origin: Step | None, function: int, units: int, grain: int, table: Sequence[Slot]
    ) -> None:
        if not self.segments or isinstance(self.segments[-1], Step):
            self.segments.append((self.count, 0))
        first, count = self.segments[-1]  # type: ignore[misc]
        self.segments[-1] = (first, count + 1)
        self.origins.append(origin)
        self.words += [function, len(self.order), units, grain]
        self.order += table

    def _call(self, name: str, description: _Words | _Turn | None, *more: Slot) -> None:
        words = self.slot("fixed")
        if description is not None:
            self._described.append((words, description))
        self._step(self._controlled, control.address(name), 0, 0, [self._base, words, *more])

    def _jump(self, target: Slot) -> None:
        self._step(None, 0, 0, 0, [target])

    def _copy(self, to: Slot, source: Slot, size: int) -> None:
        self._call("copy", [to, source, size])

    # -- control flow -------------------------------------------------------------------------------------------

    def _control(self, c: Control, step: Step, env: dict[Node, Slot], scratch: int, site: Any) -> None:
        args = [env[n] for n in step.reads]
        outs = dict(zip(c.results, [env[n] for n in step.writes], strict=False))
        if c.node.prim is scan or c.node.prim is while_loop:
            self._loop(c, args, outs, scratch, site)
            return
        if len(c.regions) == 1:
            operands = args if len(args) == len(c.regions[0].graph.inputs) else args[1:]
            self._branch(c, c.regions[0], operands, outs, scratch, site)
            return
        state, ends = self._words_of_own(2), []
        jump = self.slot("own", state.value + 1)
        targets: _Words = [args[0], len(c.regions)]
        self._call("select", targets, state)
        at = self.count
        self._jump(jump)
        for region in c.regions:
            targets.append(self.count - at)
            self._branch(c, region, args[1:], outs, scratch, site)
            end: _Words = [self.count]
            ends.append(end)
            target = self.slot("fixed")
            self._described.append((target, end))
            self._jump(target)
        for end in ends:
            end[0] = self.count - end[0]

    def _branch(
        self, c: Control, region: Region, args: list[Slot], outs: dict[int, Slot], scratch: int, site: Any
    ) -> None:
        inside = dict(zip(region.graph.inputs, args, strict=True))
        inside.update(zip(region.graph.outputs, [outs[k] for k in c.results], strict=True))
        self.region(region, inside, scratch, site)

    def _loop(self, c: Control, args: list[Slot], outs: dict[int, Slot], scratch: int, site: Any) -> None:
        node, body = c.node, c.regions[-1]
        is_scan = node.prim is scan
        first, count = carry_range(node)
        skipped = 0 if is_scan else node.attrs["cond_consts"]
        inside = dict(zip(body.graph.inputs[:first], args[skipped : skipped + first], strict=True))
        turn = _Turn(int(node.attrs["length"]) if is_scan else (1 << 62))
        if is_scan:
            self._sequences(c, turn, args, outs, inside)
        carries = self._carries(c, turn, args[skipped + first : skipped + first + count], scratch, inside)
        state = self._words_of_own(2)
        jump = self.slot("own", state.value + 1)
        self._call("begin", None, state)
        begin = self.count
        self._call("turn", turn, state)
        leave = self.count
        self._jump(jump)
        ends: list[tuple[_Words, int]] = []
        base = scratch
        if not is_scan:
            holds = c.regions[0]
            base += holds.arena.size
            flag = self.slot("arena", scratch + int(c.scratch.size) - ALIGNMENT)  # type: ignore[union-attr]
            seen = dict(zip(holds.graph.inputs, [*args[:skipped], *carries], strict=True))
            seen[holds.graph.outputs[0]] = flag
            self.region(holds, seen, scratch, site)
            test: _Words = [flag, 0]
            self._call("test", test, state)
            ends.append((test, self.count))
            self._jump(jump)
        self.region(body, inside, base, site)
        target = self.slot("fixed")
        self._described.append((target, [begin - self.count]))
        self._jump(target)
        turn.end = self.count - leave
        for words, at in ends:
            words[1] = self.count - at
        for i in range(count):
            if i in outs:
                o = body.graph.outputs[i]
                self._copy(outs[i], carries[i], int(o.size) * o.dtype.itemsize)

    def _sequences(
        self, c: Control, turn: _Turn, args: list[Slot], outs: dict[int, Slot], inside: dict[Node, Slot]
    ) -> None:
        """The slots of the elements of sequences, and of the results of each step."""
        graph, attrs = c.regions[0].graph, c.node.attrs
        begin = attrs["consts"] + attrs["carries"]
        pairs = list(zip(graph.inputs[begin:], args[begin:], strict=True))
        ys = sorted(k for k in outs if k >= attrs["carries"])
        pairs += list(zip(graph.outputs[attrs["carries"] :], [outs[k] for k in ys], strict=True))
        for element, whole in pairs:
            size = int(element.size) * element.dtype.itemsize
            slot = inside[element] = self.slot("moving")
            if attrs["reverse"]:
                turn.places.append((slot, whole, (turn.count - 1) * size, -size, -1))
            else:
                turn.places.append((slot, whole, 0, size, -1))

    def _carries(
        self, c: Control, turn: _Turn, starts: list[Slot], scratch: int, inside: dict[Node, Slot]
    ) -> list[Slot]:
        """The slots of the carry that a step takes. What it leaves is a result of the step, or in one of two places."""
        graph = c.regions[-1].graph
        first, _ = carry_range(c.node)
        carries = []
        for i in range(len(starts)):
            slot = inside[graph.inputs[first + i]] = self.slot("moving")
            carries.append(slot)
            o = graph.outputs[i]
            if i in c.carried:
                inside[o] = self.slot("moving")
                place = self.slot("arena", scratch + c.carried[i])
                turn.places.append((inside[o], place, 0, nbytes(o), 1))
        for slot, start, o in zip(carries, starts, graph.outputs, strict=False):
            turn.carries.append((slot, start, inside[o]))
        return carries

    # -- the whole ----------------------------------------------------------------------------------------------

    def finish(self) -> Assembled:
        """Number everything."""
        ordered = [s for kind in KINDS for s in self.slots if s.kind == kind]
        for i, s in enumerate(ordered):
            s.number = i
        tables = len(ordered) + self._own
        entries: dict[Slot, list[int]] = {}
        for i, s in enumerate(self.order):
            if s.kind == "moving":
                entries.setdefault(s, []).append(tables + i)
        data: list[int] = []
        starts: list[int] = []
        for _, words in self._described:
            starts.append(len(data))
            if isinstance(words, _Turn):
                data += words.words(entries)
            else:
                data += [w.number if isinstance(w, Slot) else w for w in words]
        described = np.array(data, np.int64)
        for (slot, _), start in zip(self._described, starts, strict=True):
            slot.value = address_of(described) + 8 * start
        return Assembled(self, ordered, tables, described)


class Assembled:
    """The tables of a program, and the words that it starts with: slots, words of its own, tables of kernels."""

    def __init__(self, source: Assembler, ordered: list[Slot], tables: int, described: np.ndarray) -> None:
        self.segments = source.segments
        self.origins = source.origins
        self.checked = [(step, site) for step, site, _ in source.checked]
        self._described = described  # read by the program as long as it lives
        words = np.array(source.words, np.int64).reshape(-1, 4)
        words[:, 1] += tables
        self.words = np.ascontiguousarray(words)
        self.address = address_of(self.words)
        self.count = len(ordered)  #: slots
        self.tables = tables  #: the word at which the kernels' tables begin
        self.order = np.array([s.number for s in source.order], np.int64)
        self.start = np.array([s.value if s.kind in ("arena", "fixed") else 0 for s in ordered], np.int64)
        self.range: dict[str, slice] = {}
        at = 0
        for kind in KINDS:
            size = sum(s.kind == kind for s in ordered)
            self.range[kind] = slice(at, at + size)
            at += size
        # the first slot's own place, or one after the slots
        own = [0 if s.value < 0 else self.count + s.value for s in ordered[self.range["own"]]]
        self.start[self.range["own"]] = 8 * np.array(own, np.int64)
        self.arena = self.start[self.range["arena"]].copy()  #: offsets
        self.status = [
            self.count + s.value for _, _, s in source.checked
        ]  #: words that faults are reported in
