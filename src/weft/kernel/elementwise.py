"""Kernels that compute values element by element, and the way to loop over them that suits their operands."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from ..ir.dtype import real_dtype
from ..ir.node import Node
from .anchors import Common
from .index import Index, Listed, Var, as_index, unflatten_index
from .loops import (
    Apply,
    Entry,
    Expr,
    Inside,
    Kernel,
    Literal,
    Load,
    Lookup,
    Position,
    Scalar,
    Search,
    Stage,
    Store,
    found_in,
)
from .lower import as_indices, broadcast, variables
from .patterns import pattern
from .pieces import in_pieces


def domain(root: Node, layouts: Mapping[Node, tuple[int, ...]]) -> tuple[int, ...]:
    """The shape that a kernel loops over to store a node: that of one part, if it is a row of equal parts."""
    if root.prim.name == "concatenate" and root not in layouts and root.dtype.kind != "c":
        shapes = {a.shape for a in root.args}
        if len(shapes) == 1 and len(root.args) <= _MOST_PARTS:
            return shapes.pop()  # type: ignore[return-value]
    return root.shape  # type: ignore[return-value]


#: Parts that are written side by side, at most: each has its own expressions.
_MOST_PARTS = 8


def elementwise(c: Common, roots: Sequence[Node]) -> Kernel:
    """The values of one or several nodes of one shape, element by element."""

    def made(indices: tuple[Index, ...]) -> list[Store]:
        return [s for i, r in enumerate(roots) for s in written(c, r, len(c.inputs) + i, indices)]

    shape = domain(c.root, c.lowering.layouts)
    best: tuple[float, tuple[Var, ...], tuple[Index, ...], list[Store]] | None = None
    for outer, indices in _collapsed(shape, c.order, "i"):
        stores = made(indices)
        if any(s.index.stride(outer[-1]) is None for s in stores):
            continue  # parts of a row are not one run of memory
        cost = sum([_cost(s.value, outer[-1]) for s in stores]) / _filled(outer[-1].size)
        if best is None or cost < best[0]:
            best = cost, outer, indices, stores
        if all(_straight(s.value, outer[-1]) for s in stores):
            break
    assert best is not None
    _, outer, indices, stores = best
    notes = tuple([r.prim.name for r in roots])
    outputs = tuple([real_dtype(r.dtype) for r in roots])
    if not all(_straight(s.value, outer[-1]) for s in stores):
        woven = _woven(shape, c.order, made)
        if woven is not None:
            outer, stage = woven
            return Kernel(c.name, outer, (stage,), c.inputs, outputs, True, notes=notes)

    def again(at: dict[Var, Index]) -> list[Store]:
        """What is stored with other expressions in place of variables."""
        found = made(tuple([i.substitute(at) for i in indices]))
        # Places are runs of memory as they were found: of other indices they may come out with divisions.
        return [replace(s, index=t.index.substitute(at)) for s, t in zip(found, stores, strict=True)]

    walk = _crosswise(outer, stores)
    if walk is not None:
        walk, parts = _near_as_one(walk, outer[-1], stores)
        split, units, inner = _strips(outer[-1], walk)
        split.update({v: i.substitute(split) for v, i in parts.items()})
        stage = Stage(inner, stores=tuple(again(split)))
        return Kernel(c.name, units, (stage,), c.inputs, outputs, False, notes=notes)
    pieces = in_pieces(outer, stores, again)
    if pieces is None and any(_in_order(at, outer[-1]) for s in stores for at in _places(s.value)):
        pieces = _rows(outer, again)
    if pieces is not None:
        return Kernel(c.name, *pieces, c.inputs, outputs, False, notes=notes)
    return Kernel(c.name, outer, (Stage((), stores=tuple(stores)),), c.inputs, outputs, True, notes=notes)


def _woven(
    shape: Sequence[int], order: Sequence[int], made: Callable[[tuple[Index, ...]], list[Store]]
) -> tuple[tuple[Var, ...], Stage] | None:
    """(loops, what is stored for all elements of the innermost axis), if these are few and what is read lies evenly
    along the loops around them: the channels of an image that come from planes are woven in registers."""
    *rest, last = order
    if not 1 < shape[last] <= _WOVEN:
        return None
    for outer, indices in _collapsed([shape[a] for a in rest], range(len(rest)), "i"):
        at = dict(zip(rest, indices, strict=True))
        stores = [
            s
            for k in range(shape[last])
            for s in made(tuple([at.get(a, as_index(k)) for a in range(len(shape))]))
        ]
        if all(_straight(s.value, outer[-1]) and s.index.stride(outer[-1]) == shape[last] for s in stores):
            return outer, Stage((), stores=tuple(stores))
    return None


def _crosswise(loops: tuple[Var, ...], stores: Sequence[Store]) -> tuple[Var, ...] | None:
    """All loops but the last, in the order in which operands that lie across are walked through; None if none does.

    A vector along the last loop then gathers from as many places, each of which goes on in the next turns of the
    loop inside: a transposition.
    """
    *others, last = loops
    if last.size % _VECTOR or last.size * math.prod([v.size for v in others]) < _MANY:
        return None
    far = [i for s in stores for i in _places(s.value) if abs(i.stride(last) or 0) > 1]
    steps = {v: max([abs(i.stride(v) or 0) for i in far], default=0) for v in others}
    distance = min([abs(i.stride(last) or 0) for i in far], default=0)
    if not any(0 < step < min(distance, _VECTOR) for step in steps.values()):
        return None
    return tuple(sorted(others, key=lambda v: (v.size > 1, -steps[v])))


def _near_as_one(
    walk: tuple[Var, ...], last: Var, stores: Sequence[Store]
) -> tuple[tuple[Var, ...], dict[Var, Index]]:
    """The walk with as many of its last loops in one as it takes to read whole vectors on the way, where all that lies
    across goes on evenly from one to the other; and what these loops' variables are in terms of that one.

    The taps of a kernel lie next to each other, but only those of several channels fill a vector."""
    loads = [e for e in found_in([s.value for s in stores]) if not isinstance(e, (Apply, Literal, Scalar))]
    if not all(isinstance(e, Load) for e in loads):
        return walk, {}
    far = [i for s in stores for i in _places(s.value) if abs(i.stride(last) or 0) > 1]
    first, size = len(walk) - 1, walk[-1].size
    if not all(i.stride(walk[-1]) == 1 for i in far):
        return walk, {}
    while first and size % _VECTOR and all(i.stride(walk[first - 1]) == size for i in far):
        first -= 1
        size *= walk[first].size
    if size % _VECTOR or first == len(walk) - 1:
        return walk, {}
    together = walk[first:]
    one = Var("".join([v.name for v in together]), size)
    at = unflatten_index(as_index(one), [v.size for v in together])
    return (*walk[:first], one), dict(zip(together, at, strict=True))


def _rows(
    loops: tuple[Var, ...], again: Callable[[dict[Var, Index]], list[Store]]
) -> tuple[tuple[Var, ...], tuple[Stage, ...]] | None:
    """(loops over units, stages) of a kernel that puts what it reads in another order along rows: several of these in a
    unit, so that places and weights are looked up once for a row."""
    if len(loops) < 2:
        return None
    *before, row, last = loops
    fits = [d for d in range(1, row.size + 1) if row.size % d == 0 and d * last.size <= _UNIT]
    count = max(fits, default=1)
    if count == row.size:
        return tuple(before), (Stage((row, last), stores=tuple(again({}))),)
    turn, step = Var(f"{row.name}h", row.size // count), Var(f"{row.name}l", count)
    split = {row: as_index(turn) * count + as_index(step)}
    return (*before, turn), (Stage((step, last), stores=tuple(again(split))),)


def _strips(last: Var, walk: tuple[Var, ...]) -> tuple[dict[Var, Index], tuple[Var, ...], tuple[Var, ...]]:
    """How a transposition is walked through: (what becomes of its variables, units, loops inside a unit).

    In strips, so that the lines gathered from stay in the cache until they are used up and what is stored along the
    last loop runs on from one vector to the next.
    """
    high, low = Var(f"{last.name}h", last.size // _VECTOR), Var(f"{last.name}l", _VECTOR)
    split = {last: as_index(high) * _VECTOR + as_index(low)}
    *far, near = walk
    strips = [d for d in range(_VECTOR, _STRIP + 1) if near.size % d == 0]
    strip = max(strips, key=lambda d: (d % _VECTOR == 0, d), default=near.size)
    if strip == near.size:
        return split, (high,), (*walk, low)
    turn, step = Var(f"{near.name}h", near.size // strip), Var(f"{near.name}l", strip)
    split[near] = as_index(turn) * strip + as_index(step)
    return split, (*far, turn), (high, step, low)


def _places(e: Expr) -> list[Index]:
    return [x.index for x in found_in([e]) if isinstance(x, Load)]


def written(c: Common, root: Node, buffer: int, indices: tuple[Index, ...]) -> list[Store]:
    """How an element is written: a complex one as its two parts next to each other."""
    if root.shape != domain(root, c.lowering.layouts):
        return _parts(c, root, buffer, indices)
    place = c.lowering.place(root, indices)
    if root.dtype.kind != "c":
        return [Store(buffer, place, c.lowering.value(root, indices))]
    parts = [c.lowering.value(part, broadcast(indices, part)) for part in root.args]
    return [Store(buffer, place * 2 + i, value) for i, value in enumerate(parts)]


def _parts(c: Common, root: Node, buffer: int, indices: tuple[Index, ...]) -> list[Store]:
    """The parts of a concatenation, each to its own place."""
    axis, stores = root.attrs["axis"], []
    for k, part in enumerate(root.args):
        at = indices[axis] + k * part.shape[axis]  # type: ignore[operator]
        place = c.lowering.place(root, (*indices[:axis], at, *indices[axis + 1 :]))
        stores.append(Store(buffer, place, c.lowering.value(part, indices)))
    return stores


def _collapsed(
    shape: Sequence[int], order: Sequence[int], prefix: str
) -> list[tuple[tuple[Var, ...], tuple[Index, ...]]]:
    """Ways to loop over a shape in the order of memory: all axes merged into one first, one variable each last."""
    ways = []
    stored = [shape[a] for a in order]
    for keep in range(max(len(shape), 1)):
        tail = stored[keep:]
        loops = (*variables(tuple(stored[:keep]), prefix), Var(f"{prefix}v", math.prod(tail)))
        in_memory = (*as_indices(loops[:-1]), *unflatten_index(as_index(loops[-1]), tail))
        by_axis = dict(zip(order, in_memory, strict=True))
        ways.append((loops, tuple([by_axis[a] for a in range(len(shape))])))
    return ways


def _straight(e: Expr, var: Var) -> bool:
    """Whether every load moves evenly (by 0 or 1, if it moves at all) as `var` grows."""
    return all(_moves_evenly(x, var) for x in found_in([e]))


def _moves_evenly(e: Expr, var: Var) -> bool:
    if isinstance(e, (Load, Entry)):
        return e.index.stride(var) in (0, 1)
    if isinstance(e, Position):
        return e.index.stride(var) is not None
    if isinstance(e, Inside):
        return all(i.stride(var) is not None for i, _, _ in e.conditions)
    return not isinstance(e, (Lookup, Search)) or e.base.stride(var) is not None


def _cost(e: Expr, var: Var) -> int:
    """What an expression costs along `var`, in loads of whole vectors, roughly."""
    cost = 0
    for x in found_in([e]):
        if isinstance(x, Load):
            stride = x.index.stride(var)
            cost += 1 if stride in (0, 1) else 8 if stride is not None or _in_order(x.index, var) else 24
        elif isinstance(x, Entry):
            cost += 1 if x.index.stride(var) in (0, 1) else 24
        elif isinstance(x, Inside):
            cost += sum([24 for i, _, _ in x.conditions if i.stride(var) is None])
    return cost


def _in_order(at: Index, var: Var) -> bool:
    """Whether it is known, though not even, how an index goes on along a variable: neighbours in another order."""
    if at.stride(var) is not None:
        return False
    tables = [t for t in at.factors if isinstance(t, Listed) and var in t.of.variables()]
    if tables:
        return all(t.of.stride(var) is not None for t in tables)
    found = pattern(at, var, _VECTOR, _VECTOR)
    return found is not None and max(found) - min(found) < _APART


def _filled(size: int) -> float:
    """The part of the lanes that is used, of vectors along a loop of `size` iterations."""
    return max(size, 1) / (-(-max(size, 1) // _VECTOR) * _VECTOR)


#: Elements of a vector, as far as the choice between ways to loop goes.
_VECTOR = 16

#: Elements of an innermost axis, at most, that are put side by side in registers.
_WOVEN = 4

#: Elements of a unit of several rows, at most.
_UNIT = 1 << 12

#: Elements that are far apart: they are not read as neighbours.
_APART = 4 * _VECTOR

#: Elements of a strip, at most: two lines of the cache.
_STRIP = 32

#: Elements from which on it pays to look at the order in which memory is walked through.
_MANY = 4096
