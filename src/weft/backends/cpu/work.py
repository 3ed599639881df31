"""How much work a kernel is, roughly: to tell what is worth several threads, and in what portions."""

from __future__ import annotations

import math

from ...kernel.loops import Apply, Expr, Kernel, Lookup, Search, operands
from ...kernel.schedule import Step
from ...kernel.sorting import Sort
from ...kernel.target import Target
from ...kernel.tiles import Tiles
from ...kernel.winograd import Winograd
from ...kernel.winograd_gradient import Sums
from . import streams
from .loop_units import is_slow_in_general

#: Work below which a step is not worth sharing out, and what one portion should be at least.
SERIAL, PORTION = 20_000, 8_000

#: Work below which all threads take equally many units, as they follow each other: what a thread finds in its cache
#: is then what it left there in the step before, and lines that another core wrote cost more than the work on them. It
#: is a part of a millisecond for two threads. More work is cut finer, for threads that are interrupted.
EVEN = 20_000_000

#: As the units taken at a time: so many that each thread gets one portion.
ALIKE = 1 << 40

#: Bytes that a portion moves of what does not stay in caches, if that leaves enough portions: where one ends, what has
#: been fetched ahead is another thread's, and rows in flight come to an end.
STRETCH = 1 << 20

#: Work that takes longer than anybody minds to look at the clock.
LONG = 200_000

#: Operations that take as long as compiling one kernel, or several runs of which do.
SPECIAL = 4_000_000

#: What a run of generic tiles loses, however few they are.
_LOST = 32_000

#: Operations of one instruction or two; the others cost some instructions, or some tens of them.
_CHEAP = frozenset(
    ("add", "sub", "mul", "neg", "abs", "maximum", "minimum", "where", "cast", "less", "less_equal", "equal",
     "bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_not", "clip")
)  # fmt: skip
_DIVISIONS = frozenset(("div", "sqrt", "rsqrt", "floor_divide", "remainder"))


def work_of(step: Step) -> int:
    """A rough count of operations."""
    kernel = step.kernel
    if isinstance(kernel, Tiles):
        cells = math.prod([v.size for v in (*kernel.outer, *kernel.fold, kernel.m, kernel.n)])
        return kernel.flops // 8 + after_sums(kernel) * cells
    if isinstance(kernel, Sort):
        return kernel.work
    assert kernel is not None
    if isinstance(kernel, (Winograd, Sums)):
        return kernel.flops // 8 + sum(_of_loops(k) for k in kernel.beside)
    return _of_loops(kernel)


def after_sums(t: Tiles) -> int:
    """A rough count of operations on the sums of one element."""
    seen: set[Expr] = set()
    return sum(_cost(r.value, seen) for r in t.results)


def lost_by(kernel: object, work: int, target: Target) -> int:
    """How much longer so much work takes with generic code, as work that it takes as long to compile code for.

    Loops take up to twice as long, or four times. Tiles take but little longer, where they are many, and are longer in
    the making."""
    if isinstance(kernel, Tiles):
        return work // 16 + _LOST
    return 3 * work if isinstance(kernel, Kernel) and is_slow_in_general(kernel, target) else work


def hardly_pays(lost: int) -> bool:
    """Whether compiling a kernel for its own sizes would take longer than is lost by some runs of a generic one."""
    return lost < SPECIAL


def grain_of(kernel: object, work: int, units: int, together: int = 1) -> int:
    """How many units a thread takes at a time; 0 if one thread does them all, -1 if that may take long; `ALIKE`.

    So many that follow one another are less work `together`."""
    if units < 2 or work < SERIAL:
        return 0 if work < LONG else -1
    if work < EVEN:
        return ALIKE
    grain = max(units // 512, min(units // 2, units * PORTION // work))
    if isinstance(kernel, Kernel) and (moved := streams.bytes_moved(kernel)) >= streams.LONG:
        grain = max(grain, units * min(STRETCH, moved // 32) // moved)
    return max(together, grain)


def _of_loops(kernel: Kernel) -> int:
    return kernel.iterations * _per_iteration(kernel)


def _per_iteration(kernel: Kernel) -> int:
    total = 0
    for stage in kernel.stages:
        count = 1
        for v in stage.variables:
            count *= max(v.size, 1)
        seen: set[Expr] = set()
        values = [x.value for x in (*stage.reductions, *stage.carries, *stage.stores)]
        total += count * max(1, sum(_cost(v, seen) for v in values))
    return max(total, 1)


def _cost(e: Expr, seen: set[Expr]) -> int:
    if e in seen:
        return 0
    seen.add(e)
    inner = sum(_cost(a, seen) for a in operands(e))
    if isinstance(e, Apply):
        return inner + (1 if e.op in _CHEAP else 4 if e.op in _DIVISIONS else 12)
    return inner + (8 if isinstance(e, (Lookup, Search)) else 0)
