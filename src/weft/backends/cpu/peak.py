"""What this machine can do at most, measured once by small kernels: multiply-adds, and bytes copied, a second."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from ...kernel.target import Target
from ...kernel.tiling import HEIGHT
from ...runtime.threads import get_num_threads
from . import instructions as ir
from . import threads
from .build import F32, F64, I32, I64, KERNEL, PTR, Build
from .making import library_of
from .matrix_tile import SUMS, WIDTH, emit_products
from .processor import host_target
from .streams import AHEAD
from .words import multiply_brains

_TURNS = 20_000  #: of the loop in one unit of the arithmetic
_COPIED = 64 << 20  #: bytes, more than caches hold
_UNIT = 1 << 18  #: bytes that one unit copies
_REPEATS = 12


@dataclass(frozen=True)
class Peak:
    """Operations a second (a multiply-add is two) and bytes a second (read and written)."""

    threads: int
    flops32: float
    flops64: float
    flops16: float  #: of bfloat16, where the processor multiplies it by itself; else as with 32 bits
    bandwidth: float

    def flops(self, bits: int) -> float:
        """For what is computed with so many bits."""
        return self.flops64 if bits >= 64 else self.flops32 if bits >= 32 else self.flops16


def peak() -> Peak:
    """The peak for the number of threads that programs run on now. The first call takes some tenths of a second."""
    return _peak(get_num_threads())


@cache
def _peak(count: int) -> Peak:
    target = host_target()
    module = ir.Module("peak")
    _emit_arithmetic(module, target, F32, "fma32")
    _emit_arithmetic(module, target, F64, "fma64")
    if target.matrices:
        build = _function(module, "matrices", target)
        begin, end = build.function.args[1:3]
        with build.loop(begin, end, name="unit"):
            emit_products(build, _TURNS)
        build.b.ret_void()
    elif target.pairs:
        _emit_arithmetic(module, target, F32, "pairs", pairs=True)
    library = library_of(module, target)
    chains, units = _chains(target), 16 * count

    def speed(name: str, adds: int) -> float:
        return 2 * adds * units * _TURNS / _best(library.address(name), units, [np.zeros(1024)])

    flops32, flops64 = (speed(f"fma{8 * size}", chains * target.lanes(size)) for size in (4, 8))
    flops16 = flops32
    if target.matrices:
        flops16 = speed("matrices", SUMS * HEIGHT**2 * 2 * WIDTH)
    elif target.pairs:
        flops16 = speed("pairs", chains * target.lanes(2))
    copy, _ = memory_speeds()
    return Peak(count, flops32, flops64, flops16, max(copy() for _ in range(_REPEATS)))


def memory_speeds() -> tuple[Callable[[], float], Callable[[], float]]:
    """Two measurements, made anew whenever they are called: bytes a second of a copy of much memory (read and written),
    and of reading alone.

    Reading has a bound of its own: one core alone reads fewer bytes a second than it reads and writes in a copy.
    """
    target, module = host_target(), ir.Module("memory")
    _emit_copy(module, target)
    _emit_read(module, target)
    library = library_of(module, target)
    first, second, third = (np.ones(_COPIED // 8 + 8) for _ in range(3))

    def speed(name: str, moved: int, arrays: list[np.ndarray]) -> Callable[[], float]:
        return lambda: moved / _seconds(library.address(name), _COPIED // _UNIT, arrays)

    # Of what a copy has just read, caches still have a part: what is read alone is something else.
    return speed("copy", 2 * _COPIED, [first, second]), speed("read", _COPIED, [third, second])


def _best(address: int, units: int, arrays: list[np.ndarray]) -> float:
    """Seconds of the quickest of some runs of a kernel on the pool."""
    return min(_seconds(address, units, arrays) for _ in range(_REPEATS))


def _seconds(address: int, units: int, arrays: list[np.ndarray]) -> float:
    words = np.array([address, 0, units, 1], np.int64)
    tables = np.array([a.ctypes.data + (-a.ctypes.data) % 64 for a in arrays], np.int64)
    began = time.perf_counter()
    threads.run(words.ctypes.data, 1, tables.ctypes.data)
    return time.perf_counter() - began


def _chains(target: Target) -> int:
    """Independent sums: enough to hide the latency of a multiply-add, few enough for the registers."""
    return target.registers - 4


def _function(module: ir.Module, name: str, target: Target) -> Build:
    return Build(module, ir.Function(module, KERNEL, name), target)


def _emit_arithmetic(
    module: ir.Module, target: Target, type_: ir.Type, name: str, pairs: bool = False
) -> None:
    """Chains of multiply-adds, or of two products of bfloat16 each."""
    build = _function(module, name, target)
    b, (buffers, begin, end, _) = build.b, build.function.args
    vector = ir.VectorType(type_, target.lanes(4 if type_ == F32 else 8))
    slots = [b.alloca(vector) for _ in range(_chains(target))]
    sink = b.load(buffers, typ=PTR)
    factor = build.splat(b.load(sink, typ=type_, align=4), vector.count)  # not known to the compiler
    for slot in slots:
        b.store(build.const(1.0, vector), slot)
    with build.loop(begin, end, name="unit"), build.loop(I64(0), I64(_TURNS), name="turn"):
        for slot in slots:
            total = b.load(slot, typ=vector)
            if pairs:
                new = multiply_brains(build, factor, factor, total)
            elif target.fma:
                new = build.call1("fma", total, factor, factor)
            else:
                new = b.fadd(b.fmul(total, factor), factor)
            b.store(new, slot)
    total = b.load(slots[0], typ=vector)
    for slot in slots[1:]:
        total = b.fadd(total, b.load(slot, typ=vector))
    never = b.fcmp_ordered("==", b.extract_element(total, I32(0)), ir.Constant(type_, -1.0))
    with b.if_then(never):
        b.store(total, sink, align=4)
    b.ret_void()


class _Stream:
    """A function over elements from `start` to `stop` of one buffer, with another that is written."""

    def __init__(self, module: ir.Module, name: str, target: Target) -> None:
        self.build, self.target = _function(module, name, target), target
        b, (buffers, begin, end, _) = self.build.b, self.build.function.args
        self.vector = ir.VectorType(F64, target.lanes(8))
        self.source, self.into = (
            b.load(b.gep(buffers, [I64(k)], source_etype=PTR), typ=PTR) for k in range(2)
        )
        self.start, self.stop = (b.mul(x, I64(_UNIT // 8)) for x in (begin, end))

    def read(self, at: ir.Value) -> ir.Value:
        """The vector at an element, while one far behind it is fetched."""
        b = self.build.b
        ahead = b.gep(self.source, [b.add(at, I64(AHEAD // 2 // 8))], source_etype=F64)
        self.build.prefetch(ahead, level=self.target.fetches_to)
        return b.load(b.gep(self.source, [at], source_etype=F64), typ=self.vector, align=8)


def _emit_copy(module: ir.Module, target: Target) -> None:
    s = _Stream(module, "copy", target)
    b, lanes = s.build.b, s.vector.count
    with s.build.loop(s.start, s.stop, 4 * lanes, name="i") as i:
        for k in range(4):
            at = b.add(i, I64(k * lanes))
            moved = s.read(at)
            to = b.gep(s.into, [at], source_etype=F64)
            b.store(moved, to, align=target.vector_bytes, nontemporal=True)
    b.ret_void()


def _emit_read(module: ir.Module, target: Target) -> None:
    """Sums of what is read, one vector in each turn: several, or several places at a time, are no quicker."""
    s = _Stream(module, "read", target)
    b, lanes = s.build.b, s.vector.count
    total = b.alloca(s.vector)
    b.store(s.build.const(0.0, s.vector), total)
    with s.build.loop(s.start, s.stop, lanes, name="i") as i:
        b.store(b.fadd(b.load(total, typ=s.vector), s.read(i)), total)
    to = b.gep(s.into, [b.mul(s.build.function.args[1], I64(lanes))], source_etype=F64)
    b.store(b.load(total, typ=s.vector), to, align=8)
    b.ret_void()
