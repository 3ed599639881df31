"""A program laid out for calls that follow one another: what is the same in every call is written down once.

An ordinary run takes memory for results, asks every buffer for its address and fills the program's words. Here the
words stay; whoever calls writes the addresses that have changed, and a run is one foreign call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...runtime.buffer import Buffer
from . import memory, threads
from .assemble import Assembled
from .driver import POSITION, RUN_WORDS

#: An arena of up to this many bytes is kept between the runs; larger ones are shared with all other programs.
_SMALL = 1 << 16


class Standing:
    """The words of one program. To set the k-th input: `words[i] = address` for every i in `inputs[k]`."""

    def __init__(
        self,
        program: Any,
        code: Assembled,
        inputs: Sequence[int],
        outputs: Sequence[int],
        types: Sequence[Any],
        arena: int,
    ) -> None:
        """`program` is what the code lives with; `inputs` and `outputs` are numbers of slots, `types` shapes and
        dtypes of outputs."""
        self._program = program
        self._types = types
        self._code = code
        self._held = code.new_words()
        places: dict[int, list[int]] = {}
        for i, slot in enumerate(code.order.tolist()):
            places.setdefault(slot, [slot]).append(code.tables + i)
        self.words = self._held.array.data
        self.inputs = [tuple(places.get(s, (s,))) for s in inputs]
        self.outputs = [tuple(places.get(s, (s,))) for s in outputs]
        self._status = code.status.tolist()
        self._arena_size = arena
        self._arena = memory.take_block(arena) if arena <= _SMALL else None
        self._arena_at = 0 if self._arena is None else self._arena[1]
        code.place_arena(self._held, self._arena_at)
        self._pool = threads.pool()
        self._enter = threads.enter_function()
        self._end = code.segments[0][1] << 32  # type: ignore[index]
        arguments = np.zeros(RUN_WORDS, np.int64)
        arguments[:] = (
            0 if self._pool is None else self._pool.address,
            code.address,
            code.segments[0][1],  # type: ignore[index]
            self._held.address,
            0,
            threads.SLICE,
            0,
        )
        self._arguments = arguments.data
        self._address = arguments.ctypes.data

    def run(self) -> bool:
        """Compute the outputs. False: an index was out of range, and an ordinary run will say which."""
        arena = self._arena
        if arena is None:
            arena = memory.take_block(self._arena_size)
            if arena[1] != self._arena_at:
                self._arena_at = arena[1]
                self._code.place_arena(self._held, arena[1])
        position = self._enter(self._address)
        if position != self._end:
            self._go_on(position)
        if self._arena is None:
            memory.give_back(arena)
        if self._pool is not None and self._pool.retired:
            self._pool.retire()
        for i in self._status:
            if self.words[i]:
                for j in self._status:
                    self.words[j] = 0
                return False
        return True

    def take(self, k: int) -> Buffer:
        """Memory for the k-th output."""
        return memory.take(*self._types[k])

    def _go_on(self, position: int) -> None:
        """The rest of a run whose time was up: signals have been handled meanwhile, and may have ended it here."""
        try:
            while position != self._end:
                self._arguments[POSITION] = position
                position = self._enter(self._address)
        finally:
            self._arguments[POSITION] = 0
