"""Loop kernels as LLVM functions: `void kernel(ptr buffers, i64 begin, i64 end)` over a range of work units."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...base.config import config
from ...kernel.generic import Hole
from ...kernel.index import Var
from ...kernel.loops import Kernel
from ...kernel.target import Target
from ...kernel.verify import verify_kernel
from . import instructions as ir
from . import streams
from .build import I64, KERNEL, Build
from .flow import Flow
from .loop_units import cut, several
from .places import Lanes
from .stages import Stages
from .wideness import side_by_side


def emit_kernel(
    module: ir.Module, kernel: Kernel, target: Target, holes: int = 0, near: bool = False
) -> ir.Function:
    """Add the function of one kernel to `module`; one with holes takes so many values at run time.

    What it reads and writes is `near` if it stays in the cache, however much it is over all units."""
    function = ir.Function(module, KERNEL, kernel.name)
    _KernelEmitter(Build(module, function, target), kernel, holes, near).emit()
    return function


class _KernelEmitter(Stages):
    def __init__(self, build: Build, kernel: Kernel, holes: int, near: bool) -> None:
        super().__init__(build, kernel, holes)
        self.near = self.hides = near
        self.several = 1 if holes else several(kernel, build.target)
        self.lags: Sequence[int] = ()  #: by how many rows stages are behind, where several rows are in flight

    def emit(self) -> None:
        moved = 0 if self.holes or self.near else streams.bytes_moved(self.kernel)
        if moved >= streams.LONG:
            self.ahead = streams.ahead_of(self.kernel, self.build.target)
            self.ahead_writing = streams.AHEAD_WRITING
            self.several = max(self.several, side_by_side(self.kernel, self.build.target))
        kernel, size = streams.set_aside(self.kernel) if moved >= streams.HUGE else (self.kernel, 0)
        if moved >= streams.HUGE and streams.stores_whole_vectors(kernel, self.lanes):
            with self.b.if_else(self._aligned()) as (yes, no):
                with yes:
                    self.past = True
                    self._units_with(kernel, size)
                    self.b.fence("seq_cst")  # stores past the caches wait for nothing else
                with no:
                    self.past = False
                    self._units()
        else:
            if moved >= streams.LONG:
                self.lags = self._lags()
            self._units()
        self.b.ret_void()

    def _lags(self) -> Sequence[int]:
        """By how many rows stages are behind the first; nothing where rows are made one after the other."""
        if any(self._lanes_of(s) != self.lanes or self._across(s) for s in self.kernel.stages if s.variables):
            return ()
        return streams.lags(self.kernel)

    def _units_with(self, kernel: Kernel, size: int) -> None:
        """The units of a kernel in place of this one; it may have one more buffer, of so many elements."""
        if config.verify:
            verify_kernel(kernel, beside=1 if size else 0)
        usual = self.kernel, self.bases, self.dtypes
        self.kernel = kernel
        if size:
            self.dtypes = (*self.dtypes, kernel.outputs[0])  # the result of a group of rows comes first
            self.bases = [*self.bases, self.build.scratch(size * kernel.outputs[0].itemsize)]
        self.lags = self._lags()
        self._units()
        self.lags = ()
        self.kernel, self.bases, self.dtypes = usual

    def _aligned(self) -> ir.Value:
        """Whether all results begin at multiples of a vector's length."""
        places = I64(0)
        for base in self.bases[len(self.kernel.inputs) :]:
            places = self.b.or_(places, self.b.ptrtoint(base, I64))
        rest = self.b.and_(places, I64(self.build.target.vector_bytes - 1))
        return self.b.icmp_unsigned("==", rest, I64(0))

    def _units(self) -> None:
        begin, end = self.build.function.args[1:3]
        if self.kernel.across:
            self._emit_across(begin, end)
            return
        if self.lags:
            Flow(self, self.lags, lambda unit: Lanes(self._decode(self.kernel.outer, unit))).emit(begin, end)
            return
        with self.build.loop(begin, end, name="unit") as unit:
            self._stages(Lanes(self._decode(self.kernel.outer, unit)))

    def _decode(self, variables: tuple[Var, ...], position: ir.Value) -> dict[Var, ir.Value]:
        """The values of loop variables at a position of their flattened range."""
        values: dict[Var, ir.Value] = {}
        for k, v in enumerate(reversed(variables)):
            if k == len(variables) - 1:
                values[v] = position
            else:
                rest, position = self.b.urem(position, I64(v.size)), self.b.udiv(position, I64(v.size))
                values[v], position = (self.b.hidden(x) if self.hides else x for x in (rest, position))
        return values

    def _emit_across(self, begin: ir.Value, end: ir.Value) -> None:
        *rest, last = self.kernel.outer
        width: Any
        blocks: Any
        if self.holes:
            width, blocks = Hole(self.holes - 2), Hole(self.holes - 1)
        else:
            width, blocks = cut(self.kernel, self.build.target)
        many = isinstance(blocks, Hole) or blocks > 1
        with self.build.loop(begin, end, name="unit") as unit:
            block = self.b.urem(unit, I64(blocks)) if many else I64(0)
            values = self._decode(tuple(rest), self.b.udiv(unit, I64(blocks)) if many else unit)
            start = self.b.mul(block, I64(width))
            stop = self.b.add(start, I64(width)) if many else I64(last.size)
            if self.holes or (many and last.size % width):
                over = self.b.icmp_signed(">", stop, I64(last.size))
                stop = self.b.select(over, I64(last.size), stop)
            for lanes in self.along(last, start, stop, Lanes(values), self.lanes, self.several):
                self._stages(lanes)
