"""Into how many units, that may run in any order, the work of a loop kernel is cut, and the memory that each needs."""

from __future__ import annotations

from collections.abc import Sequence

from ...kernel.index import Var
from ...kernel.loops import Expr, Kernel, Load, Scatter, Store, found_in
from ...kernel.memory import aligned
from ...kernel.target import Target
from . import streams
from .wideness import WIDE, is_plain, lane_count

#: Vectors in one unit of work of an elementwise kernel: a unit is some tens of kilobytes.
BLOCK = 256


def units(kernel: Kernel, target: Target) -> int:
    """Into how many units, that may run in any order, a kernel's work is cut. A function of the kernel alone."""
    if not kernel.across:
        return kernel.iterations
    last = kernel.outer[-1].size
    rest = kernel.iterations // last if last else 0
    return rest * -(-last // (block_of(kernel, target) * lane_count(kernel, target)))


def block_of(kernel: Kernel, target: Target) -> int:
    """Vectors in one unit of a kernel whose vectors run along its last outer variable."""
    return max(BLOCK // _inner(kernel), several(kernel, target))


def _inner(kernel: Kernel) -> int:
    """Iterations of the stages' own loops, at most."""
    most = 1
    for stage in kernel.stages:
        count = 1
        for v in stage.variables:
            count *= v.size
        most = max(most, count)
    return most


def several(kernel: Kernel, target: Target) -> int:
    """How many vectors of results a kernel that goes down long columns makes at once: rows of memory are read, and
    written, in longer pieces, and what is computed of one vector need not wait for another."""
    if not kernel.across or _inner(kernel) < 32 or kernel.outer[-1].size < WIDE * lane_count(kernel, target):
        return 1
    return WIDE if is_long_reduction(kernel) or (target.picks and _is_plain(kernel)) else 1


def is_long_reduction(kernel: Kernel) -> bool:
    """Whether all that the loops of a kernel do is to combine what lies in memory side by side along its vectors."""
    for stage in kernel.stages:
        if stage.carries or stage.serial or (stage.variables and stage.stores):
            return False
        if not all(_reads_along(r.value, kernel.outer[-1]) for r in stage.reductions):
            return False
    return True


def _reads_along(e: Expr, var: Var) -> bool:
    """Whether an expression is what lies in memory side by side along a variable."""
    return isinstance(e, Load) and e.index.stride(var) in (0, 1)


def _is_plain(kernel: Kernel) -> bool:
    """Whether a kernel reads, computes and writes nothing but float32 that lie side by side along its vectors."""
    along = kernel.outer[-1]
    for stage in kernel.stages:
        values = [x.value for x in (*stage.reductions, *stage.stores)]
        if stage.carries or not all(is_plain(e, along) for e in found_in(values)):
            return False
        for s in stage.stores:
            place = s.base if isinstance(s, Scatter) else s.index
            if place.stride(along) != 1 or (isinstance(s, Store) and s.within):
                return False
    return all(t.name == "float32" for t in kernel.outputs)


def cut(kernel: Kernel, target: Target) -> tuple[int, int]:
    """(elements in a block, blocks) of the last outer variable, which the units of a kernel `across` are made of."""
    width = block_of(kernel, target) * lane_count(kernel, target)
    return width, -(-kernel.outer[-1].size // width)


def is_slow_in_general(kernel: Kernel, target: Target) -> bool:
    """Whether a kernel for its own sizes takes a quarter of a generic one's time: it makes several sums at once."""
    return several(kernel, target) > 1 and is_long_reduction(kernel)


def generic_values(kernel: Kernel, values: Sequence[int], target: Target) -> list[int]:
    """All that a generic kernel is called with: the values of its holes, and how its work is cut."""
    return [*values, *(cut(kernel, target) if kernel.across else ())]


def scratch_bytes(kernel: Kernel) -> int:
    """The scratch memory that a kernel needs, at most."""
    if streams.bytes_moved(kernel) < streams.HUGE:
        return 0
    return aligned(streams.set_aside(kernel)[1] * kernel.outputs[0].itemsize)
