"""Programs of the CPU backend: a graph becomes kernels, an arena and a table of steps; a call is one foreign call."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from ...base.errors import BackendError, IndexingError, OutOfMemoryError, WeftError
from ...ir.graph import Graph
from ...ir.node import Node
from ...ir.primitive import pick_prim
from ...kernel.in_place import updates
from ...kernel.lower import looked_up
from ...kernel.memory import plan_arena
from ...kernel.running import FINAL
from ...kernel.schedule import Step
from ...kernel.show import show_kernel
from ...ops.loops import while_loop
from ...runtime import debug, profile
from ...runtime.backend import NOTHING, Fault, Observer
from ...runtime.buffer import Buffer, Value, address_of
from ..reference.interpreter import Interpreter
from . import forms, host, memory, threads, watch
from .assemble import Assembled, Assembler, Slot
from .driver import STEP_WORDS
from .foresight import foresee
from .host import on_host
from .processor import host_target
from .regions import Region, numbered, own_results, plan, prepare
from .standing import Standing
from .tiers import Tiers
from .units import MOST, scratch_bytes, units, units_together
from .work import grain_of, hardly_pays, lost_by, work_of

#: How many runs of one program at a time find memory that is laid out already.
_SPARE = 4

#: Runs before what is made of steady inputs alone is kept: calls that follow one another see to that by themselves.
_BEFORE_KEEPING = 4

#: Operations of a program that is over in less time than somebody who presses Ctrl-C would notice.
_SHORT = 1 << 26


def program_of(graph: Graph, recurs: bool = False, steady: Collection[int] = ()) -> CpuProgram:
    """A graph, planned and compiled."""
    foresee([memory.size_of(n.shape, n.dtype.numpy) for n in graph.outputs])  # type: ignore[arg-type]
    start = numbered(graph)
    try:
        prepared = own_results(prepare(start, debug.watch(start), steady))
        return CpuProgram(prepared, graph, recurs, steady)
    except Exception as error:
        about = getattr(error, "about", None)
        if about is not None and about.site:
            error.position = about.site[1]  # type: ignore[attr-defined]
        raise


class CpuProgram:
    """One graph, compiled: its code, where its intermediate values lie, and the table that the driver walks."""

    def __init__(
        self, graph: Graph, source: Graph, recurs: bool = False, steady: Collection[int] = ()
    ) -> None:
        self.graph = graph
        self._steady = steady
        self.source = source  #: as it was before all passes; errors and profiles speak of its nodes
        self.target = host_target()
        self.region = plan(graph)
        if self.region.arena.size > sys.maxsize:
            raise self._too_large().error
        foresee([self.region.arena.size])
        self.steps = list(self.region.all_steps())
        if debug.at(4):
            debug.say("\n".join([show_kernel(s.kernel) for s in self.steps if s.kernel is not None]))
        self._refuse_unknown()
        repeats = self.region.repeats()
        native = [s for s in self.steps if s.kernel is not None]
        works = self._choose_code(native, [repeats[s] for s in native], recurs)
        self._constants: dict[Node, np.ndarray] = {}
        self._types = [(n.shape, np.dtype(n.dtype.numpy)) for n in (*graph.inputs, *graph.outputs)]
        self._code_of, self._env = self._assemble(self.region)
        endless = any(s.node.prim is while_loop for s in self.steps)
        work = sum([works[id(s.kernel)] * repeats[s] for s in native])
        #: whether a signal can wait for its end, and nothing but a signal would end it before
        self._short = not endless and not self._code_of.checked and work < _SHORT
        segments = self._code_of.segments
        self._one_call = len(segments) == 1 and not isinstance(segments[0], Step)
        self._spare: list[Standing] = []
        #: one that keeps what it makes of steady inputs alone, while it is not used
        self._kept: list[Standing] = []
        self._runs = 0
        self._views: dict[Node, tuple[int, np.ndarray]] = {}  #: what Python computes with: (address, array)

    def _refuse_unknown(self) -> None:
        """Raise if there are operations that neither kernels nor NumPy compute."""
        left = [s for s in self.region.steps if s.kernel is None and s not in self.region.inner]
        missing = sorted({s.node.prim.name for s in left if not on_host(s.node.sig)})
        if missing:
            raise BackendError(f"the cpu backend has no code yet for {', '.join(missing)}")

    def _choose_code(self, native: Sequence[Step], repeats: Sequence[int], recurs: bool) -> dict[int, int]:
        """Find or make the function of each step, special or generic, and how it is shared out to threads.

        Returns the work of each kernel, by its identity: steps that are alike have the same one.
        """
        target = self.target
        if debug.at(5):
            from .making import source as text

            debug.say("\n".join([text(s.kernel, s.kernel.name, target)[0] for s in native]))  # type: ignore[union-attr]
        kinds = {id(s.kernel): s for s in native}
        works = {k: work_of(s) for k, s in kinds.items()}
        slower = {k: lost_by(s.kernel, works[k], target) for k, s in kinds.items()}
        lost = [slower[id(s.kernel)] * n for s, n in zip(native, repeats, strict=True)]
        generic = [not recurs and hardly_pays(n) for n in lost]
        uses = forms.functions([s.kernel for s in native], target, generic)
        self._uses = dict(zip(native, uses, strict=True))
        self._tiers = Tiers(self._uses, lost)
        sizes = [scratch_bytes(s.kernel, target) for s in kinds.values()]
        self.scratch_bytes = max([*sizes, *[use.scratch_bytes for use in uses]], default=0)
        counts = {k: units(s.kernel, target) for k, s in kinds.items()}
        if (k := max(counts, key=counts.__getitem__, default=0)) and counts[k] > MOST:
            raise self._beyond(kinds[k], counts[k])
        together = {k: units_together(s.kernel, target) for k, s in kinds.items()}
        self._shares = {
            k: (counts[k], grain_of(s.kernel, works[k], counts[k], together[k])) for k, s in kinds.items()
        }
        return works

    def _assemble(self, region: Region) -> tuple[Assembled, dict[Node, Slot]]:
        """The steps laid out for the driver, and the slots of inputs, outputs and stored values."""
        assembler = Assembler(self._code, self._constant_address, self._values_address)
        env: dict[Node, Slot] = {n: assembler.slot("input") for n in self.graph.inputs}
        env.update({n: assembler.slot("output") for n in self.graph.outputs})
        assembler.region(region, env, 0)
        return assembler.finish(), env

    def _code(self, step: Step) -> tuple[int, int, int]:
        """(address of the function, units, units claimed at a time) of a kernel."""
        return self._uses[step].code.address, *self._shares[id(step.kernel)]

    def _values_address(self, step: Step) -> int:
        values = self._uses[step].values
        return 0 if values is None else address_of(values)

    def _constant_address(self, node: Node) -> int:
        if node not in self._constants:
            self._constants[node] = _constant(node)
        return address_of(self._constants[node])

    def run(self, inputs: Sequence[Value], observe: Observer | None = None) -> list[Buffer]:
        if observe is not None:
            # Most operations leave no value of their own behind: the reference shows them one by one. The results are
            # those of the compiled code all the same, as looking must not change them.
            held = [_array(v, n) for v, n in zip(inputs, self.graph.inputs, strict=True)]
            with np.errstate(all="ignore"):
                Interpreter(self.source).evaluate(held, observe)
        if self._tiers.generic:
            self._tiers.ran(self._code_of, self.target)
        try:
            outs, wrong = self._computed(inputs)
        except MemoryError:
            raise self._too_large() from None
        if wrong is not None:
            self._raise_index_error(*self._code_of.checked[wrong])
        return outs

    def _computed(self, inputs: Sequence[Value]) -> tuple[list[Buffer], int | None]:
        """What the program makes, and the number of the first of the checked steps that failed, if one did."""
        native = self._one_call and profile.recorder is None
        standing = (self._keeping() if native else None) or self._laid_out()
        standing.place_inputs(inputs)
        if standing.keeps:
            standing.see([inputs[k] for k in self._steady])
        outs = standing.take_outputs()
        wrong = standing.run() if native else standing.run(self._run_parts)
        if standing.keeps:
            self._kept.append(standing)
        elif len(self._spare) < _SPARE:
            self._spare.append(standing)
        return outs, wrong

    def _keeping(self) -> Standing | None:
        """Words of the program that keeps what it makes of steady inputs alone, if there are some that nobody uses."""
        if not self._steady or self._tiers.generic:  # it is laid out anew once its code is special
            return None
        self._runs += 1
        if self._runs == _BEFORE_KEEPING:
            made = self.standing(self._steady)
            return made if made is not None and made.keeps else None
        try:
            found = self._kept.pop()
        except IndexError:
            return None
        found.set_pool()
        return found

    def _laid_out(self) -> Standing:
        """Words that no other run uses."""
        try:
            found = self._spare.pop()
        except IndexError:
            return self._standing(self._code_of, self._env, self.region.arena.size)
        found.set_pool()
        return found

    def _standing(self, code: Assembled, env: dict[Node, Slot], arena: int, **more: Any) -> Standing:
        ins, outs = ([env[n].number for n in nodes] for nodes in (self.graph.inputs, self.graph.outputs))
        return Standing(self, code, ins, outs, self._types, arena, self.scratch_bytes, **more)

    def standing(
        self, steady: Collection[int] = (), replaced: Mapping[int, int | None] = NOTHING
    ) -> Standing | None:
        """The program laid out for calls that follow one another, if it is one foreign call.

        The inputs with the numbers `steady` seldom change: copies of them in another order, and what a convolution
        prepares from these, are kept.
        `replaced` are the outputs that replace an input, or what the program does not read: those that can be written
        in its place are.
        """
        if not self._one_call or self._tiers.generic:
            return None
        ins, outs = self.graph.inputs, self.graph.outputs
        known, results = {ins[k] for k in steady}, set(outs)
        kept: list[Step] = []
        for step in self.region.steps:
            if step.prepares and results.isdisjoint(step.writes) and known.issuperset(step.reads):
                kept.append(step)
                known.update(step.writes)
        first = set(kept)
        found = updates(
            [*kept, *[s for s in self.region.steps if s not in first]],
            {outs[k]: None if i is None else ins[i] for k, i in replaced.items()},
        )
        if not kept and not found.results:
            return self._laid_out()
        wanted = {n for s in self.region.steps if s not in first for n in s.reads}
        arena = plan_arena(self.graph, found.steps, wanted.intersection([n for s in kept for n in s.writes]))
        memory.exchange(self.region.arena.size, arena.size)
        code, env = self._assemble(replace(self.region, steps=found.steps, arena=arena))
        over, in_place = None, found.results
        if found.results and self._short:
            over = len(kept)
            in_place |= {outs[k] for k, i in replaced.items() if i is None}
        elif found.results:
            over = next(i for i, s in enumerate(code.origins) if s in found.last)
        in_place = frozenset([k for k in replaced if outs[k] in in_place])
        return self._standing(code, env, arena.size, kept=len(kept), over=over, in_place=in_place)

    def _run_parts(self, words: np.ndarray, scratch: threads.Scratch) -> None:
        """Run a program that is more than one foreign call, or that a profile wants to know about."""
        with np.errstate(all="ignore"):  # for all that NumPy computes: it takes a while to say so
            self._run_segments(words, scratch)

    def _run_segments(self, words: np.ndarray, scratch: threads.Scratch) -> None:
        if profile.recorder is not None:
            self._watched.run(profile.recorder, words, scratch)
            return
        code = self._code_of
        for segment in code.segments:
            if isinstance(segment, Step):
                self._run_on_host(segment, words)
            else:
                first, many = segment
                steps = code.address + 8 * STEP_WORDS * first
                threads.run(steps, many, address_of(words), scratch=scratch)

    @cached_property
    def _watched(self) -> watch.Watched:
        return watch.Watched(self.region, self.source, self._code_of, self._run_on_host)

    def _run_on_host(self, step: Step, slots: np.ndarray) -> None:
        """Compute a node in Python, on arrays over the program's memory."""
        arrays = [self._view(n, slots) for n in step.reads]
        try:
            found = host.evaluate(step.node, arrays)
        except WeftError as e:
            raise Fault(step.node.site[1], e) from None
        for n in step.writes:
            value = found[n.attrs["index"]] if n.prim is pick_prim else found
            self._view(n, slots)[...] = value

    def _too_large(self) -> Fault:
        """What to say where the system has no memory for the results and the intermediate values."""
        stored = [n for s in self.region.steps for n in s.writes if n.site is not None]
        largest = max(stored, key=lambda n: n.size * n.dtype.itemsize)  # type: ignore[operator]
        text = f"{largest.prim.name}: not enough memory for {largest.aval.describe()}"
        return Fault(largest.site[1], OutOfMemoryError(text))

    def _beyond(self, step: Step, count: int) -> WeftError:
        """What to say of a step of too many parts: first, if it is so, that there is no memory for them."""
        sizes = [self.region.arena.size, *[int(n.size) * n.dtype.itemsize for n in step.writes]]
        try:
            _ = [memory.take_block(size) for size in sizes]  # all at once
        except MemoryError:
            return self._too_large().error
        return BackendError(
            f"{step.node.prim.name}: {count:,} parts, as of {step.node.aval.describe()}, are more than the cpu backend "
            f"can count ({MOST:,}); work on slices"
        )

    def _view(self, node: Node, slots: np.ndarray) -> np.ndarray:
        """The memory of a stored value as an array: the one of the last run, where it is in the same place."""
        address = int(slots[self._env[node].number])
        known = self._views.get(node)
        if known is not None and known[0] == address:
            return known[1]
        dtype = node.dtype.numpy
        size = int(node.size) * dtype.itemsize
        raw = (ctypes.c_byte * max(size, 1)).from_address(address)
        view = np.frombuffer(raw, np.uint8, size).view(dtype).reshape(node.shape)  # type: ignore[arg-type]
        self._views[node] = address, view
        return view

    def _raise_index_error(self, step: Step, site: Any) -> None:
        node = _indexed(step)
        x = node.args[0].aval
        error = IndexingError(f"{node.prim.name}: an index is out of bounds for {x.describe()}")
        raise Fault((node.site if site is step.node.site else site)[1], error)


def _indexed(step: Step) -> Node:
    """The operation inside a kernel that reads or writes at run-time places."""
    known = set(step.reads)
    stack = [n for n in reversed(step.writes) if n.args]
    while stack:
        node = stack.pop()
        if node.prim.name != "searchsorted" and (node.prim.name in looked_up or node.prim.name in FINAL):
            return node
        stack.extend(a for a in reversed(node.args) if a not in known and a.value is None)
    return step.node


def _array(value: Value, node: Node) -> np.ndarray:
    if isinstance(value, Buffer):
        return value.array
    return np.array(value, node.dtype.numpy)


def _constant(node: Node) -> np.ndarray:
    return np.ascontiguousarray(_array(node.value, node))
