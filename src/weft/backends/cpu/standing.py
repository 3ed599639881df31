"""A program laid out in memory: its words, which stay from run to run, and the foreign call that runs it.

What is the same in every run is written once. Before a run the addresses that have changed are written, each to the
slot of its value and to the tables of the kernels that use it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from ...runtime.buffer import Buffer, Value, address_of
from . import memory, threads
from .assemble import Assembled
from .driver import POSITION, RUN_WORDS, SCRATCH, STEP_WORDS

#: An arena of up to this many bytes is kept between the runs; larger ones are shared with all other programs.
_SMALL = 1 << 12

#: So is scratch memory of up to this many.
_SMALL_SCRATCH = 1 << 14


class Standing:
    """The words of one program. Not for two threads at a time."""

    def __init__(
        self,
        program: Any,
        code: Assembled,
        inputs: Sequence[int],
        outputs: Sequence[int],
        types: Sequence[Any],
        arena: int,
        scratch: int = 0,
        kept: int = 0,
        over: int | None = None,
        in_place: frozenset[int] = frozenset(),
    ) -> None:
        """`program` is what the code lives with; `inputs` and `outputs` are numbers of slots, `types` shapes and
        dtypes, first those of the inputs. Each thread needs `scratch` bytes for its kernels. The results of the first
        `kept` steps are good until `forget` is called. From step number `over` on inputs are written over, by the
        outputs `in_place`."""
        self._program = program
        self._code = code
        self._types = types
        self.array = np.zeros(code.tables + len(code.order), np.int64)
        self.address = address_of(self.array)
        self.array[: code.count] = code.start
        self.array[code.range["own"]] += self.address
        self._words = self.array.data
        places: dict[int, list[int]] = {}
        for i, slot in enumerate(code.order.tolist()):
            places.setdefault(slot, [slot]).append(code.tables + i)
        self._inputs, self._outputs = ([places.get(s, [s]) for s in slots] for slots in (inputs, outputs))
        self._input_at, self._output_at = [0] * len(inputs), [0] * len(outputs)
        self._numbers: dict[int, _Number] = {}
        self._takes = [(memory.size_of(*t), *t) for t in types[len(inputs) :]]
        self._arena_size = arena
        stays = kept or (arena <= _SMALL and not memory.POISONED)
        self._arena = memory.take_block(arena) if stays else None
        self.keeps = kept > 0
        self.in_place = in_place
        self._seen: Sequence[Value] = []
        self.last: Sequence[Callable[[], Any]] = ()
        self._over = over
        self._after = kept << 32
        self._arena_at = 0
        self._place_arena(0 if self._arena is None else self._arena[1])
        self._arguments = np.zeros(RUN_WORDS, np.int64)
        self._arguments_at = address_of(self._arguments)
        self._rest = np.zeros(RUN_WORDS, np.int64)  # the arguments of `last`
        self._scratch_size = scratch
        self._scratch: memory.Block | None = None
        if 0 < scratch <= _SMALL_SCRATCH and not memory.POISONED:
            self._scratch = memory.take_block(scratch)
            self._place_scratch(self._scratch[1])
        self.held: Sequence[memory.Block] = ()  #: until `last` has been called
        self._pool: threads.Pool | None = None
        self._slice = -1
        self.set_pool()

    def set_pool(self) -> None:
        """Run on the threads that there are now."""
        pool = threads.pool(self._scratch_size)
        if self._slice == threads.SLICE and pool is self._pool:
            return
        self._pool, self._enter, self._slice = pool, threads.enter_function(), threads.SLICE
        segment = self._code.segments[0] if self._code.segments else None
        first, count = segment if isinstance(segment, tuple) else (0, 0)
        steps = self._code.address + 8 * STEP_WORDS * first
        workers = 0 if pool is None else pool.address
        if self._over is not None:
            # Nothing can be done about a signal any more: this call takes what time it needs.
            self._rest[:SCRATCH] = workers, steps, count, self.address, self._over << 32, 0, 0
            self.last = (partial(self._enter, address_of(self._rest)),)
            count = self._over
        self._arguments[:SCRATCH] = workers, steps, count, self.address, 0, threads.SLICE, 0
        self._end = count << 32
        self._idle = False  #: whether all that `run` has to do is done

    # -- where things are ---------------------------------------------------------------------------------------

    def place(self, k: int, address: int) -> None:
        """Say where the k-th input is."""
        if self._input_at[k] != address:
            self._input_at[k] = address
            words = self._words
            for i in self._inputs[k]:
                words[i] = address

    def place_number(self, k: int, value: Any) -> None:
        """Give a Python number as the k-th input."""
        found = self._numbers.get(k)
        if found is None:
            found = self._numbers[k] = _Number(self._types[k][1])
        if found.value is not value:
            found.array[()] = found.value = value
        self.place(k, found.address)

    def place_inputs(self, values: Sequence[Value]) -> None:
        """Say what all inputs are."""
        known, words, numbers = self._input_at, self._words, self._numbers
        for k, value in enumerate(values):
            if isinstance(value, Buffer):
                address = value._address or value.address
            elif (number := numbers.get(k)) is not None and number.value is value:
                address = number.address
            else:
                self.place_number(k, value)
                continue
            if known[k] != address:
                known[k] = address
                for i in self._inputs[k]:
                    words[i] = address

    def place_output(self, k: int, address: int) -> None:
        """Say where the k-th output goes."""
        if self._output_at[k] != address:
            self._output_at[k] = address
            words = self._words
            for i in self._outputs[k]:
                words[i] = address

    def take(self, k: int) -> Buffer:
        """Memory for the k-th output."""
        return memory.Recycled(*self._takes[k])

    def take_outputs(self) -> list[Buffer]:
        """Memory for all outputs, where they then go."""
        known, words, outs = self._output_at, self._words, []
        for k, (size, shape, dtype) in enumerate(self._takes):
            buffer = memory.Recycled(size, shape, dtype)
            address = buffer._address
            if known[k] != address:
                known[k] = address
                for i in self._outputs[k]:
                    words[i] = address
            outs.append(buffer)
        return outs

    def _place_arena(self, address: int) -> None:
        if self._arena_at != address or not address:
            self._arena_at = address
            code = self._code
            np.add(code.arena, address, out=self.array[code.range["arena"]])
            np.take(self.array[: code.count], code.order, out=self.array[code.tables :], mode="clip")

    def _place_scratch(self, address: int) -> None:
        self._arguments[SCRATCH] = self._rest[SCRATCH] = address

    # -- running ------------------------------------------------------------------------------------------------

    def run(self, parts: Callable[[np.ndarray, threads.Scratch], None] | None = None) -> int | None:
        """Compute the outputs, but for those in place. None, or the number of the first of the checked steps that met
        an index outside.

        `parts` runs a program that is more than one foreign call.
        """
        if self._arena is None:
            arena = memory.take_block(self._arena_size)
            self._place_arena(arena[1])
            self.held = (*self.held, arena)
        if self._scratch is None and self._scratch_size:
            scratch = memory.take_block(self._scratch_size)
            self._place_scratch(scratch[1])
            self.held = (*self.held, scratch)
        if parts is not None:
            parts(self.array, threads.Scratch(int(self._arguments[SCRATCH]), self._scratch_size))
        elif not self._idle:
            position = self._enter(self._arguments_at)
            if position != self._end:
                self._go_on(position)
            self._arguments[POSITION] = self._after
            self._idle = self._after == self._end
        if self.held and self._over is None:
            self.leave()
        self._let_go()
        return self._faulty() if self._code.status else None

    def leave(self) -> None:
        """Say that `last` has been called, or will not be."""
        held, self.held = self.held, ()
        for block in held:
            memory.give_back(block)

    def forget(self) -> None:
        """Make the next run one of all steps: steady inputs have changed."""
        self._arguments[POSITION] = 0
        self._idle = False

    def see(self, steady: Sequence[Value]) -> bool:
        """Say what the steady inputs are; True if they may be others than in the run before. As long as something is
        kept of them they are held, so that nobody writes other values into their memory."""
        if steady == self._seen:
            return False
        self.forget()
        self._seen = steady if self.keeps else []
        return True

    def _faulty(self) -> int | None:
        words, status = self._words, self._code.status
        for number, i in enumerate(status):
            if words[i]:
                for k in status:
                    words[k] = 0
                return number
        return None

    def _go_on(self, position: int) -> None:
        """The rest of a run whose time was up: signals have been handled meanwhile, and may have ended it here."""
        try:
            while position != self._end:
                self._arguments[POSITION] = position
                position = self._enter(self._arguments_at)
        finally:
            self.forget()
            self._let_go()

    def _let_go(self) -> None:
        """Let the workers leave, if there are others by now: while the program ran, nobody else could."""
        if self._pool is not None and self._pool.retired:
            self._pool.retire()


class _Number:
    """Memory for a number that is an input, and what it holds."""

    __slots__ = ("address", "array", "value")

    def __init__(self, dtype: np.dtype) -> None:
        self.array = np.zeros((), dtype)
        self.address = address_of(self.array)
        self.value: Any = None
