"""How many elements the vectors of a loop kernel hold, and what is the same in all iterations of an innermost loop."""

from __future__ import annotations

from ...kernel.functions import functions
from ...kernel.index import Var
from ...kernel.loops import (
    Apply,
    Entry,
    Expr,
    Inside,
    Kernel,
    Literal,
    Load,
    Position,
    Scalar,
    Scatter,
    Stage,
    Store,
    Total,
    found_in,
    operands,
)
from ...kernel.target import Target

#: Vectors of results that a long reduction makes at once, and those of long formulas that are computed side by side.
WIDE = 4

#: Functions that are done with a vector before memory has brought the next one.
_QUICK = frozenset(("exp", "tanh", "floor_divide", "copysign", "nextafter"))


def lane_count(kernel: Kernel, target: Target) -> int:
    """Lanes of the kernel's vectors: as many as the widest type allows of what they hold."""
    types = (*kernel.inputs, *kernel.outputs)
    sizes = [4]
    for stage in kernel.stages:
        sizes += [r.dtype.itemsize for r in (*stage.reductions, *stage.carries)]
        along = along_vectors(kernel, stage)
        for x in (*stage.reductions, *stage.carries, *stage.stores):
            loads = [e for e in found_in([x.value]) if isinstance(e, Load)]
            sizes += [types[e.buffer].itemsize for e in loads if along in e.index.variables()]
        for s in stage.stores:
            if isinstance(s, Scatter) or along in s.index.variables():
                sizes.append(types[s.buffer].itemsize)
    return target.lanes(max(sizes))


def accumulators(stage: Stage) -> int:
    """Vectors of results that a reduction along its vectors keeps: one comparison does not wait for the one before.

    Sums keep one, in which they are added in order.
    """
    exact = stage.reductions and all(r.op in ("max", "min") for r in stage.reductions)
    return WIDE if exact and not stage.stores else 1


def side_by_side(kernel: Kernel, target: Target) -> int:
    """Vectors of results along which a kernel without sums computes its formulas.

    Of a long formula nearly every instruction waits for the one before. What follows it by a whole formula is too far
    away for a processor to begin with meanwhile, so the same instruction of other vectors follows. That takes
    registers, and memory had better not wait for several vectors where it is what takes longest.
    """
    if not target.picks or not kernel.across or kernel.outer[-1].size < WIDE * target.lanes(4):
        return 1
    found = []
    for stage in kernel.stages:
        if stage.variables or stage.reductions or stage.carries or stage.serial:
            return 1
        if not all(isinstance(s, Store) and not s.within for s in stage.stores):
            return 1
        found += found_in([s.value for s in stage.stores])
    known = all(is_plain(e, kernel.outer[-1]) for e in found)
    long = any(isinstance(e, Apply) and e.op in functions and e.op not in _QUICK for e in found)
    stored = all(t.name == "float32" for t in kernel.outputs)
    return WIDE if known and long and stored else 1


def is_long_sum(stage: Stage, target: Target) -> bool:
    """Whether a stage adds up elementary functions, for the same reason better computed of several vectors side by side
    than one after the other."""
    if not target.picks or stage.stores or not all(r.op == "sum" for r in stage.reductions):
        return False
    found = found_in([r.value for r in stage.reductions])
    known = all(is_plain(e, stage.variables[-1]) for e in found)
    return known and any(isinstance(e, Apply) and e.op in functions for e in found)


def is_plain(e: Expr, along: Var) -> bool:
    """Whether an expression is one of float32, or a condition, and reads neighbours or one number for all lanes."""
    if isinstance(e, Load) and e.index.stride(along) not in (0, 1):
        return False
    return isinstance(e, (Literal, Load, Scalar, Total, Apply)) and (
        e.dtype.name == "float32" or e.dtype.kind == "b"
    )


def along_vectors(kernel: Kernel, stage: Stage) -> Var | None:
    """The variable that the vectors of a stage run along."""
    if kernel.across:
        return kernel.outer[-1]
    return stage.variables[-1] if stage.variables else None


def same_along(e: Expr, var: Var) -> list[Expr]:
    """The parts of an expression, as large as possible, that take an instruction and have one value in a whole loop."""
    known: dict[Expr, bool] = {}

    def is_same(x: Expr) -> bool:
        found = known.get(x)
        if found is None:
            found = known[x] = _is_same_itself(x, var) and all(is_same(a) for a in operands(x))
        return found

    def within(x: Expr) -> tuple[Expr, ...]:
        return x.args if isinstance(x, Apply) and not is_same(x) else ()

    return [x for x in found_in([e], within) if not isinstance(x, (Literal, Scalar, Total)) and is_same(x)]


def _is_same_itself(e: Expr, var: Var) -> bool:
    """Whether an expression has one value in a whole loop if what it is made of has."""
    if isinstance(e, (Load, Position, Entry)):
        return var not in e.index.variables()
    if isinstance(e, Inside):
        return not any(var in i.variables() for i, _, _ in e.conditions)
    return isinstance(e, (Literal, Scalar, Total, Apply))
