"""How many elements the vectors of a loop kernel hold, and what is the same in all iterations of an innermost loop."""

from __future__ import annotations

from ...kernel.index import Var
from ...kernel.loops import (
    Apply,
    Expr,
    Inside,
    Kernel,
    Literal,
    Load,
    Position,
    Scalar,
    Scatter,
    Stage,
    Total,
    found_in,
    operands,
)
from ...kernel.target import Target

#: Vectors of results that a long reduction makes at once.
WIDE = 4


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
    if isinstance(e, (Load, Position)):
        return var not in e.index.variables()
    if isinstance(e, Inside):
        return not any(var in i.variables() for i, _, _ in e.conditions)
    return isinstance(e, (Literal, Scalar, Total, Apply))
