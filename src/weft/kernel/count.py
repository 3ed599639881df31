"""How much work a kernel is: operations, and bytes that must come from memory and go there.

One multiplication or addition is one operation, and so is any elementwise function of one element. What is computed
once for all iterations, conversions and index arithmetic do not count. Each buffer counts as read once, however often
its elements are used, and where only some elements are, only those.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .index import Var
from .loops import Apply, Expr, Kernel, Literal, Load, Lookup, Scalar, Scatter, Search, Stage, Store, operands
from .schedule import Step
from .sorting import Sort
from .tiles import Tiles
from .winograd import Winograd
from .winograd_gradient import Sums

_FREE = ("cast", "bitcast", "identity", "stop_gradient")


@dataclass(frozen=True)
class Work:
    """Operations, and bytes read and written."""

    flops: int
    read: int
    written: int


def work_of(step: Step) -> Work:
    """The work of a native step."""
    kernel = step.kernel
    sizes = [int(n.size) * n.dtype.itemsize for n in step.reads]
    if isinstance(kernel, Tiles):
        outer = (*kernel.outer, *kernel.fold, kernel.m, kernel.n)
        flops = kernel.flops + _times(outer) * _operations([r.value for r in kernel.results])
        return Work(flops, sum(sizes), _bytes(step))
    if isinstance(kernel, Sort):
        return Work(kernel.work, sum(sizes), int(step.writes[0].size) * step.writes[0].dtype.itemsize)
    if isinstance(kernel, (Winograd, Sums)):
        return Work(kernel.flops + _beside(kernel.beside), sum(sizes), _bytes(step))
    assert isinstance(kernel, Kernel)
    flops, touched, written = 0, [0] * len(kernel.inputs), 0
    for stage in kernel.stages:
        loops = (*kernel.outer, *stage.variables)
        values = [x.value for x in (*stage.reductions, *stage.carries, *stage.stores)]
        flops += _times(loops) * (_operations(values) + len(stage.reductions))
        for e in _all(values, stage):
            if isinstance(e, (Load, Lookup, Scalar, Search)) and e.buffer < len(touched):
                touched[e.buffer] = max(touched[e.buffer], _touched(e, loops))
        written += sum(_stored(s, kernel, loops) for s in stage.stores)
    read = sum(min(t * d.itemsize, size) for t, d, size in zip(touched, kernel.inputs, sizes, strict=True))
    return Work(flops, read, min(written, 2 * _bytes(step)))


def _beside(kernels: Iterable[Kernel]) -> int:
    """Operations that Winograd's method makes beside the products."""
    stages = [(k.outer, s) for k in kernels for s in k.stages]
    return sum(
        _times((*outer, *s.variables)) * _operations([x.value for x in s.stores]) for outer, s in stages
    )


def _bytes(step: Step) -> int:
    return sum(int(n.size) * n.dtype.itemsize for n in step.writes)


def _times(variables: Iterable[Var]) -> int:
    return math.prod(v.size for v in variables)


def _all(values: Sequence[Expr], stage: Stage | None = None) -> set[Expr]:
    """The different expressions inside, those of the places of scatters too."""
    seen: set[Expr] = set()
    waiting = list(values)
    if stage is not None:
        waiting += [i for s in stage.stores if isinstance(s, Scatter) for i, _, _ in s.parts]
    while waiting:
        e = waiting.pop()
        if e not in seen:
            seen.add(e)
            waiting.extend(operands(e))
    return seen


def _operations(values: Sequence[Expr]) -> int:
    """The different operations on what changes from iteration to iteration."""
    memo: dict[Expr, bool] = {}

    def varies(e: Expr) -> bool:
        known = memo.get(e)
        if known is None:
            if isinstance(e, Apply):
                known = any(varies(a) for a in e.args)
            else:
                known = not isinstance(e, (Literal, Scalar))
            memo[e] = known
        return known

    return sum(isinstance(e, Apply) and e.op not in _FREE and varies(e) for e in _all(values))


def _touched(e: Load | Lookup | Scalar | Search, loops: Sequence[Var]) -> int:
    """How many elements of its buffer an expression reads, if no two iterations read the same without need."""
    if isinstance(e, Scalar):
        return 1
    if isinstance(e, Load):
        return _times([v for v in loops if v in e.index.variables()])
    return _times(loops) * (max(1, e.size.bit_length()) if isinstance(e, Search) else 1)


def _stored(s: Store | Scatter, kernel: Kernel, loops: Sequence[Var]) -> int:
    size = kernel.outputs[s.buffer - len(kernel.inputs)].itemsize
    return _times(loops) * size * (2 if isinstance(s, Scatter) and s.add else 1)
