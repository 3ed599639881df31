"""Matrix products as contractions: tiles where the operands move by fixed strides, else plain loops."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ..ir.dtype import DType, float32, int32
from ..ir.node import Node
from .anchors import Common, accumulate, anchor
from .index import Index, Indices, Listed, Var, as_index, flatten_index, unflatten_index
from .loops import Apply, Expr, Kernel, Load, Reduction, Store
from .lower import as_indices, variables
from .shapes import shape_of
from .summation import SHORT_DOT
from .tiles import LONG, Guard, Operand, Result, Tap, Tiles, merge_taps
from .wide import is_wide, is_wide_conv, wide_tiles
from .words import SMALL, in_words

#: Types that are contracted in tiles; int32 from smaller integers.
IN_TILES = ("float32", "float64", "int32")

#: Operations whose operands are read many times, in tiles: they must lie in memory, as views of it at most.
CONTRACTIONS = ("dot_general", "wide_dot", "conv", "wide_conv")


@anchor("dot_general", "wide_dot")
def _contraction(c: Common) -> Kernel | Tiles:
    """A product summed in order of k for every element of the result: tiles where strides allow, else plain loops."""
    assert c.anchor is not None
    found = _as_tiles(c)
    assert found is not None or not is_wide(c.anchor.sig)
    return found or as_loops(c)


def sum_length(node: Node) -> int:
    """How many products each sum of a contraction has."""
    if node.prim.name in ("conv", "wide_conv"):
        return math.prod(shape_of(node.args[1])[1:])
    return math.prod(contracted(node))


def contracted(product: Node) -> tuple[int, ...]:
    """The sizes of the axes that a matrix product contracts."""
    return tuple([shape_of(product.args[0])[a] for a in product.attrs["contract"][0]])


def ends_in_registers(contraction: Node) -> bool:
    """Whether tiles keep their sums in registers from begin to end, so that these may be stored in any type."""
    return is_wide(contraction.sig) or is_wide_conv(contraction.sig) or sum_length(contraction) <= LONG


def can_round(contraction: Node, dtype: DType) -> bool:
    """Whether tiles can store their sums as `dtype`: in another type there is no memory for sums to wait in."""
    rounds = dtype.storage_only or contraction.dtype is int32
    return dtype is contraction.dtype or (rounds and ends_in_registers(contraction))


def can_store(anchor: Node, dtype: DType) -> bool:
    """Whether the kernel of an anchor can store results of a type: any but the tiles of a contraction can."""
    tiled = anchor.prim.name in CONTRACTIONS and anchor.dtype.name in IN_TILES
    return not tiled or can_round(anchor, dtype)


def widens(dtype: DType, out: DType) -> bool:
    """Whether operands are cast from one type to the other as they are read."""
    return (out is float32 and dtype.storage_only) or (out is int32 and dtype in SMALL)


def stored(e: Expr) -> Load | None:
    """What of an operand is read from memory, if nothing is done with it on the way but widening."""
    if isinstance(e, Apply) and e.op == "cast" and widens(e.args[0].dtype, e.dtype):
        e = e.args[0]
    return e if isinstance(e, Load) else None


def sides(c: Common) -> tuple[int, list[int], list[int]]:
    """How many batch axes the result has, and the free axes of the two operands."""
    assert c.anchor is not None
    x, y = c.anchor.args
    (cx, cy), (bx, by) = c.anchor.attrs["contract"], c.anchor.attrs["batch"]
    free_x = [a for a in range(x.ndim) if a not in cx and a not in bx]
    free_y = [a for a in range(y.ndim) if a not in cy and a not in by]
    return len(bx), free_x, free_y


def factors(c: Common, out: Sequence[Index], inner: Sequence[Index]) -> tuple[Expr, Expr]:
    """The two factors, for indices of the result and of the contracted axes."""
    assert c.anchor is not None
    x, y = c.anchor.args
    (cx, cy), (bx, by) = c.anchor.attrs["contract"], c.anchor.attrs["batch"]
    lead, free_x, free_y = sides(c)
    at_x = dict(zip((*bx, *free_x, *cx), (*out[: lead + len(free_x)], *inner), strict=True))
    at_y = dict(zip((*by, *free_y, *cy), (*out[:lead], *out[lead + len(free_x) :], *inner), strict=True))
    left = c.lowering.value(x, tuple([at_x[a] for a in range(x.ndim)]))
    right = c.lowering.value(y, tuple([at_y[a] for a in range(y.ndim)]))
    return left, right


def as_loops(c: Common) -> Kernel:
    """The contraction as sums in order, one for each element of the result."""
    assert c.anchor is not None
    outer, out = c.loops()
    inner = variables(contracted(c.anchor), "k")
    left, right = factors(c, out, as_indices(inner))
    op = "dot" if c.anchor.dtype.name in ("float32", "float64") else "sum"
    reduction = Reduction(op, Apply("mul", (left, right), c.anchor.dtype), c.anchor.dtype)
    # A function of the shape: not of how results lie in memory, which other operations decide.
    across = bool(outer) and (sum_length(c.anchor) < SHORT_DOT or c.shape[-1] != 1)
    if across and op == "sum" and inner:  # integers can be added in any order
        across = not _runs_along(stored(right), outer[-1], inner[-1])
    return c.kernel(outer, accumulate(c, inner, reduction, out), across)


def _runs_along(x: Load | None, n: Var, k: Var) -> bool:
    """Whether neighbours along k, and not along n, are neighbours in memory."""
    return x is not None and x.index.stride(k) == 1 and x.index.stride(n) not in (0, 1)


@dataclass(frozen=True)
class LoopNest:
    """The loops of a contraction in tiles, and where its operands and its result are for values of their variables."""

    outer: tuple[Var, ...]
    row: Var
    column: Var
    inner: tuple[Var, ...]  #: what is summed over, outermost first
    left: Load
    right: Load
    at: tuple[Index, ...] = ()  #: of the result
    #: Taps that may fall outside the first operand: their guards, and their strides in it.
    guards: Mapping[Var, tuple[Guard, int | None]] = field(default_factory=dict)
    starts: tuple[int, ...] = ()  #: of each row in the first operand, if these are not a stride apart

    def substitute(self, values: Mapping[Var, Index]) -> LoopNest:
        """The same with other indices in place of some variables, in all places."""
        left, right = (replace(x, index=x.index.substitute(values)) for x in (self.left, self.right))
        return replace(self, left=left, right=right, at=tuple([i.substitute(values) for i in self.at]))

    def cut(self, parts: Mapping[Var, tuple[Var, ...]]) -> LoopNest | None:
        """The same with rows, columns and steps cut into `parts`, tiles along one of those of the rows and the columns;
        None for a single row whose columns lie apart in the second operand: it is not worth packing for."""
        rows, columns, right = parts[self.row], parts[self.column], self.right.index
        row = max(rows, key=lambda v: v.size)
        column = max(columns, key=lambda v: (right.stride(v) == 1, v.size))
        if self.row.size < 2 and right.stride(column) != 1:
            return None
        outer = (*self.outer, *[v for v in (*rows, *columns) if v not in (row, column)])
        inner = tuple([v for k in self.inner for v in parts[k]])
        return replace(self, outer=outer, row=row, column=column, inner=inner)

    def transposed(self) -> LoopNest:
        """The same products with rows and columns exchanged."""
        return replace(self, row=self.column, column=self.row, left=self.right, right=self.left)


def loops_of_product(
    c: Common, shape: tuple[int, ...]
) -> tuple[tuple[Var, ...], Var, Var, tuple[Var, ...], Indices]:
    """(batch variables, all rows, all columns, contracted variables, indices of the result) of a matrix product with
    results of some shape."""
    assert c.anchor is not None
    lead, free_x, _ = sides(c)
    rows, columns = shape[lead : lead + len(free_x)], shape[lead + len(free_x) :]
    batch = variables(shape[:lead], "b")
    m, n = Var("m", math.prod(rows)), Var("n", math.prod(columns))
    at = (*as_indices(batch), *unflatten_index(as_index(m), rows), *unflatten_index(as_index(n), columns))
    return batch, m, n, variables(contracted(c.anchor), "k"), at


def _as_tiles(c: Common) -> Tiles | None:
    """The contraction with fixed strides, if its operands lie in memory so."""
    anchor = c.anchor
    assert anchor is not None
    if anchor.dtype.name not in IN_TILES or not can_round(anchor, c.root.dtype):
        return None
    batch, m, n, inner, at = loops_of_product(c, c.shape)
    left, right = [stored(e) for e in factors(c, at, as_indices(inner))]
    if n.size < 2 or left is None or right is None:
        return None
    parts = split((m, n, *inner), (left.index, right.index, c.place(at)))
    if parts is None:
        return None
    whole = LoopNest(batch, m, n, inner, left, right, at)
    nest = whole.substitute({v: join(vs) for v, vs in parts.items()}).cut(parts)
    if nest is None:
        return None
    if _fill_more_lanes(c, nest):
        nest = nest.transposed()
    return tiles(c, nest, [c.store(nest.at)])


#: Bytes of a vector that columns are to fill, about, and steps of a sum beside which it is little work to turn the
#: results.
_VECTOR, _STEPS = 64, 32


def _fill_more_lanes(c: Common, nest: LoopNest) -> bool:
    """Whether rows are neighbours in the first operand, as those of A^T B, and had better be the lanes of vectors than
    few columns. The products are the same, and so is their order."""
    assert c.anchor is not None
    lanes = _VECTOR // c.anchor.dtype.itemsize

    def filled(v: Var) -> float:
        return v.size / (-(-v.size // lanes) * lanes)

    plain = c.anchor.dtype.kind == "f" and c.root.dtype is c.anchor.dtype and not is_wide(c.anchor.sig)
    long, few = sum_length(c.anchor) >= _STEPS, nest.column.size < 2 * lanes
    neighbours = nest.left.index.stride(nest.row) == 1
    return plain and long and few and neighbours and filled(nest.row) > filled(nest.column)


def split(variables: Sequence[Var], places: Sequence[Index]) -> dict[Var, tuple[Var, ...]] | None:
    """Each variable cut into ones (outermost first) that move all places by fixed strides; None if that can't be.

    A place that goes through a reshape depends on a quotient and a remainder of the variable: these become
    variables of their own.
    """
    parts: dict[Var, tuple[Var, ...]] = {v: (v,) for v in variables}
    whole = list(places)
    waiting = list(variables)
    while waiting:
        v = waiting.pop()
        if all(p.stride(v) is not None for p in whole):
            continue
        by = next((d for p in whole for d in _divisors(p, v)), None)
        if by is None:
            return None
        high, low = Var(f"{v.name}h", v.size // by), Var(f"{v.name}l", by)
        replaced = {v: join((high, low))}
        whole = [p.substitute(replaced) for p in whole]
        origin = next(o for o, vs in parts.items() if v in vs)
        parts[origin] = tuple([x for o in parts[origin] for x in ((high, low) if o == v else (o,))])
        waiting += [high, low]
    return parts


def join(parts: Sequence[Var]) -> Index:
    """The variable that was cut into `parts`."""
    return flatten_index([as_index(v) for v in parts], [v.size for v in parts])


def _divisors(place: Index, var: Var) -> Iterator[int]:
    """Where a variable may be cut so that a quotient or remainder of it becomes plain."""
    for term in place.factors:
        if isinstance(term, (Var, Listed)):
            continue
        factor = term.of.factors.get(var, 0)
        if factor and term.by % factor == 0:
            by = term.by // factor
            if 1 < by < var.size and var.size % by == 0:
                yield by
        yield from _divisors(term.of, var)


def tiles(c: Common, nest: LoopNest, stores: Sequence[Store], fold: tuple[Var, ...] = ()) -> Tiles | None:
    """A contraction and what is stored of it, if each variable moves each operand and each result by a fixed stride.

    With `fold`, what is stored is the greatest of the values for all values of these variables.
    """
    assert c.anchor is not None
    left, right, m, n = nest.left.index, nest.right.index, nest.row, nest.column
    moved = [left.stride(m), right.stride(n), *[left.stride(v) for v in fold]]
    moved += [s.index.stride(v) for s in stores for v in (m, n)]
    taps = [_tap(nest, v) for v in nest.inner]
    if None in moved or any(None in (t.a, t.b) for t in taps):
        return None
    along = left.stride(n) == 1 and nest.left.dtype is c.anchor.dtype and c.anchor.dtype is not int32
    if (left.stride(n) != 0 and not along) or right.stride(m) != 0:
        return None
    gone = {v: as_index(0) for v in (m, n, *nest.inner)}

    def operand(x: Load | Store, v: Var) -> Operand:
        return Operand(x.buffer, x.index.substitute(gone), x.index.stride(v))  # type: ignore[arg-type]

    found = Tiles(
        name=c.name,
        outer=nest.outer,
        m=m,
        n=n,
        taps=merge_taps(taps),
        a=operand(nest.left, m),
        b=operand(nest.right, n),
        results=tuple([Result(operand(s, m), s.index.stride(n), s.value) for s in stores]),  # type: ignore[arg-type]
        dtype=c.anchor.dtype,
        inputs=c.inputs,
        outputs=(c.root.dtype,),
        fold=fold,
        notes=(c.anchor.prim.name, c.inner.prim.name),
        border=c.border(),
        rows=nest.starts,
        along=along,
    )
    if is_wide(c.anchor.sig):
        return wide_tiles(found)
    return in_words(found) if found.dtype is int32 or is_wide_conv(c.anchor.sig) else found


def _tap(nest: LoopNest, v: Var) -> Tap:
    """A variable that is summed over, and how far it moves the operands."""
    guard, stride = nest.guards.get(v, (None, nest.left.index.stride(v)))
    return Tap(v.size, stride, nest.right.index.stride(v), guard)  # type: ignore[arg-type]  (see `tiles`)
