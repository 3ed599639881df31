"""Generators: where random numbers come from.

A generator's state is a tensor like any other, so a draw is an ordinary lazy operation, `compile` captures the state
as it captures a parameter, and what is drawn is a function of the seed and of the draws before it alone.
"""

from __future__ import annotations

import secrets
from typing import Any

import numpy as np

from ..base.errors import ArgumentError, DTypeError, ShapeError
from ..base.locks import new_lock
from ..base.state import state as thread
from ..ir.dtype import uint64
from ..ir.node import Aval, Node
from ..ir.primitive import leaf
from ..ir.shape import Size
from ..ops.random import advance, count_node
from ..runtime.buffer import Buffer
from .tensor import Tensor

_MASK = (1 << 64) - 1


def _fresh_state(seed: int, counter: int = 0) -> Node:
    return leaf(Aval((2,), uint64), Buffer(np.array([seed, counter], np.uint64)))


def _checked_seed(seed: int | None) -> int:
    if seed is None:
        return secrets.randbits(64)
    try:
        return seed.__index__() & _MASK
    except (AttributeError, TypeError):
        raise ArgumentError(f"a seed is an integer or None, got {seed!r}") from None


class Generator:
    """A stream of random numbers.

    Args:
        seed: an integer, taken modulo 2**64. Generators with one seed give one stream; None takes a seed from the
            operating system.

    The numbers are those of Philox4x32-10 in counter mode: the same on every machine, backend and thread count.
    """

    def __init__(self, seed: int | None = None) -> None:
        self._lock = new_lock(rank=0)
        self._tensor = Tensor(_fresh_state(_checked_seed(seed)))

    def seed(self, seed: int | None = None) -> Generator:
        """Start the stream of another seed from its beginning; returns the generator itself."""
        with self._lock:
            self._tensor._cell.rebind(_fresh_state(_checked_seed(seed)))
        return self

    manual_seed = seed

    @property
    def state(self) -> Tensor:
        """Seed and position in the stream, uint64 (2,). Assign what was read before to draw the same again."""
        return Tensor(self._tensor._node)

    @state.setter
    def state(self, value: Any) -> None:
        if isinstance(value, Tensor):
            if value.shape != (2,):
                raise ShapeError(f"a generator's state has shape (2,), got {value.shape}")
            if value.dtype is not uint64:
                raise DTypeError(f"a generator's state is uint64, got {value.dtype}")
            node = value.detach()._node
        else:
            seed, counter = (int(v) & _MASK for v in value)
            node = _fresh_state(seed, counter)
        with self._lock:
            self._tensor._cell.rebind(node)

    def draw_state(self, count: Size) -> Node:
        """A state for a draw of `count` blocks (`ops.random.blocks`), and step over them.

        The only place that reads and advances the state. A trace that treats it in its own way (one state for each
        element of a `vmap`, for each step of a `scan`) has a method `draw(generator, count) -> Node`.
        """
        cell = self._tensor._cell
        trace = thread.traces[-1] if cell.depth < len(thread.traces) else None
        draw = getattr(trace, "draw", None)
        if draw is not None:
            return draw(self, count)
        with self._lock:
            node = cell.node
            cell.rebind(advance.bind((node, count_node(count))))
        return node

    def __getstate__(self) -> list[int]:
        return [int(v) for v in self._tensor.numpy()]

    def __setstate__(self, saved: list[int]) -> None:
        self._lock = new_lock(rank=0)
        self._tensor = Tensor(_fresh_state(*saved))

    def __repr__(self) -> str:
        return f"Generator({int(self._tensor.numpy()[0])})" if not thread.traces else "Generator(...)"


_default: Generator | None = None


def default_generator() -> Generator:
    """The generator of all draws that are given none. Until it is seeded, its seed is the system's choice."""
    global _default
    if _default is None:
        _default = Generator()
        # Should this be inside a trace, the generator is nevertheless older than it: state, and not a constant.
        _default._tensor._cell.depth = 0
    return _default


def exchange_default(generator: Generator | None) -> Generator | None:
    """Have another generator for the default one. Returns the one that was; None stands for one not made yet."""
    global _default
    before, _default = _default, generator
    return before


def seed(seed: int | None = None) -> Generator:
    """Seed the default generator; returns it."""
    return default_generator().seed(seed)


manual_seed = seed


def checked_generator(generator: Any) -> Generator:
    """The generator that an argument `generator=` names; None is the default one."""
    if generator is None:
        return default_generator()
    if not isinstance(generator, Generator):
        raise ArgumentError(f"generator must be a weft.random.Generator or None, got {generator!r}")
    return generator
