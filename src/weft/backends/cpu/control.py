"""The native side of loops and branches: small functions that move pointers and say where a program goes on.

They are called like kernels, as steps of a program, and keep what they know (the number of the iteration, how far to
jump) in memory of the program's own: so the driver knows of control flow only that some steps jump, and a program
can be left between any two steps and gone on with later. Each takes a table of pointers; all of them begin with the
program's slots, where every value's address is, and a description, an array of numbers.

- `begin(slots, description, state)`: the iteration before the first.
- `turn(slots, description, state)`: the next iteration of a loop, or its end. What a step left as the carry becomes
  what the next one takes; slots that differ from step to step are set, and so are the entries in the tables of the
  kernels inside.
- `test(slots, description, state)`: leave the loop if a boolean is false.
- `select(slots, description, state)`: go on with one of several branches.
- `copy(slots, description)`: bytes from one slot's memory to another's.

`state` is two words: the number of the iteration, and how far the jump that follows goes, in steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from ...kernel.target import Target
from . import instructions as ir
from .build import I8, I64, KERNEL, PTR
from .jit import Library
from .library import runtime_library
from .processor import host_target

#: The words of a description of a loop, before its lists: how many iterations at most, how far to jump at the end,
#: and how long the lists are: carries (slot, slot before the first step, slot that a step leaves), places (slot,
#: slot of the base, offset, distance from one iteration to the next, mask of the iteration's number) and entries
#: (word, slot).
TURN_WORDS = 5
CARRY_WORDS, PLACE_WORDS, ENTRY_WORDS = 3, 5, 2

#: What is copied at a time, and by how many bits a number of bytes is shifted to count it.
_LINE, _LINE_BITS = ir.VectorType(I8, 64), 6

NAMES = ("begin", "turn", "test", "select", "copy")


@cache
def _library() -> Library:
    return runtime_library(emit_control, NAMES, host_target())


@cache
def address(name: str) -> int:
    """Where one of the functions is."""
    return _library().address(name)


def emit_control(module: ir.Module, target: Target) -> None:
    """Add the functions to `module`."""
    for name in NAMES:
        _Emitter(module, name).emit()


class _Emitter:
    def __init__(self, module: ir.Module, name: str) -> None:
        self.module = module
        self.name = name
        self.f = ir.Function(module, KERNEL, name)
        self.b = ir.IRBuilder(self.f.append_basic_block("entry"))
        table = self.f.args[0]
        self.slots, self.words = self._pointer(table, 0), self._pointer(table, 1)
        if name != "copy":
            self.state = self._pointer(table, 2)

    def emit(self) -> None:
        getattr(self, f"_{self.name}")()
        self.b.ret_void()

    def _at(self, base: ir.Value, index: ir.Value | int) -> ir.Value:
        return self.b.gep(base, [I64(index) if isinstance(index, int) else index], source_etype=I64)

    def _get(self, base: ir.Value, index: ir.Value | int) -> ir.Value:
        return self.b.load(self._at(base, index), typ=I64)

    def _set(self, base: ir.Value, index: ir.Value | int, value: ir.Value) -> None:
        self.b.store(value, self._at(base, index))

    def _pointer(self, base: ir.Value, index: ir.Value | int) -> ir.Value:
        return self.b.inttoptr(self._get(base, index), PTR)

    @contextmanager
    def _each(self, count: ir.Value) -> Iterator[ir.Value]:
        """A loop over 0 .. count-1."""
        head, body, after = (self.f.append_basic_block(n) for n in ("each", "body", "after"))
        before = self.b.block
        self.b.branch(head)
        self.b.position_at_end(head)
        i = self.b.phi(I64)
        i.add_incoming(I64(0), before)
        self.b.cbranch(self.b.icmp_signed("<", i, count), body, after)
        self.b.position_at_end(body)
        yield i
        i.add_incoming(self.b.add(i, I64(1)), self.b.block)
        self.b.branch(head)
        self.b.position_at_end(after)

    # -- the functions ------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        self._set(self.state, 0, I64(-1))

    def _turn(self) -> None:
        b = self.b
        before = self._get(self.state, 0)
        first = b.icmp_signed("<", before, I64(0))
        now = b.add(before, I64(1))
        self._set(self.state, 0, now)
        count, end, carries, places, entries = (self._get(self.words, k) for k in range(TURN_WORDS))
        start: ir.Value = I64(TURN_WORDS)
        with self._each(carries) as i:
            at = b.add(start, b.mul(i, I64(CARRY_WORDS)))
            source = b.select(
                first, self._get(self.words, b.add(at, I64(1))), self._get(self.words, b.add(at, I64(2)))
            )
            self._set(self.slots, self._get(self.words, at), self._get(self.slots, source))
        start = b.add(start, b.mul(carries, I64(CARRY_WORDS)))
        going = b.icmp_signed("<", now, count)
        self._set(self.state, 1, b.select(going, I64(1), end))
        with b.if_then(going):
            with self._each(places) as i:
                at = b.add(start, b.mul(i, I64(PLACE_WORDS)))
                slot, base, offset, step, mask = (
                    self._get(self.words, b.add(at, I64(k))) for k in range(PLACE_WORDS)
                )
                moved = b.add(offset, b.mul(b.and_(now, mask), step))
                self._set(self.slots, slot, b.add(self._get(self.slots, base), moved))
            rest = b.add(start, b.mul(places, I64(PLACE_WORDS)))
            with self._each(entries) as i:
                at = b.add(rest, b.mul(i, I64(ENTRY_WORDS)))
                entry, slot = self._get(self.words, at), self._get(self.words, b.add(at, I64(1)))
                self._set(self.slots, entry, self._get(self.slots, slot))

    def _test(self) -> None:
        b = self.b
        flag = b.load(self._pointer(self.slots, self._get(self.words, 0)), typ=I8)
        holds = b.icmp_unsigned("!=", flag, I8(0))
        self._set(self.state, 1, b.select(holds, I64(1), self._get(self.words, 1)))

    def _select(self) -> None:
        b = self.b
        index = b.load(self._pointer(self.slots, self._get(self.words, 0)), typ=I64)
        last = b.sub(self._get(self.words, 1), I64(1))
        index = b.select(b.icmp_signed(">", index, last), last, index)
        index = b.select(b.icmp_signed("<", index, I64(0)), I64(0), index)
        self._set(self.state, 1, self._get(self.words, b.add(index, I64(2))))

    def _copy(self) -> None:
        b = self.b
        to, source = (self._pointer(self.slots, self._get(self.words, k)) for k in (0, 1))
        size = self._get(self.words, 2)
        lines = b.lshr(size, I64(_LINE_BITS))
        done = b.shl(lines, I64(_LINE_BITS))
        for type_, count, begin in ((_LINE, lines, I64(0)), (I8, b.sub(size, done), done)):
            there, here = (b.gep(p, [begin], source_etype=I8) for p in (to, source))
            with self._each(count) as i:
                value = b.load(b.gep(here, [i], source_etype=type_), typ=type_, align=1)
                b.store(value, b.gep(there, [i], source_etype=type_), align=1)
