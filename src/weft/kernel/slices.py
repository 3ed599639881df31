"""Products whose columns are read in slices, together with what reads them: the gates of a recurrent layer.

    x @ w = [u | v | ...],   y = f(u, v, ...)

Written one after the other, the product is stored, and read again by a kernel that computes y. Here each tile makes
one sum for each slice, the columns j, H + j, 2H + j, ..., and y is what follows it: an epilogue with several sums, and
with several results, if f has some. How many sums there are, and where their columns begin, is read off the
expressions of the results: wherever they need an element of the product, a sum is made.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from ..ir.dtype import real_dtype
from ..ir.node import Node
from ..ops.movement import slice_
from .anchors import Common
from .contraction import (
    IN_TILES,
    LoopNest,
    factors,
    join,
    loops_of_product,
    sides,
    split,
    stored,
    sum_length,
    tiles,
)
from .elementwise import domain, written
from .index import Index, Indices, Var, as_index, flatten_index
from .loops import Load, Store
from .lower import Lowering, as_indices
from .shapes import shape_of
from .tiles import LONG, Tiles

#: Sums of one element, at most: a tile must have some rows of each.
_MOST = 5


def slices_of(product: Node, users: Mapping[Node, Sequence[Node]]) -> int:
    """In how many slices of equal width the columns of a product are read, by all that follows it; 1 if otherwise."""
    waiting, widths = [product], set()
    while waiting:
        for user in users.get(waiting.pop(), ()):
            if user.prim is slice_ and user.shape[:-1] == product.shape[:-1]:
                width, start = shape_of(user)[-1], user.attrs["start"][-1]
                even = user.attrs["stride"][-1] == 1 and width > 0 and start % width == 0
                widths.add(width if even else 0)
            elif user.prim.elementwise and user.shape == product.shape:
                waiting.append(user)
            else:
                return 1
    width = widths.pop() if len(widths) == 1 else 0
    if not width:
        return 1
    columns = shape_of(product)[-1]
    return columns // width if columns % width == 0 else 1


def first_readers(
    groups: Sequence[list[Node]],
    reads: Callable[[list[Node]], Collection[Node]],
    products: Collection[Node],
) -> dict[Node, tuple[Node, bool]]:
    """By the first root of a group: one of the `products` that no group reads before it, and whether others follow."""
    by: dict[Node, list[Node]] = {}
    for group in groups:
        for n in reads(group):
            if n in products:
                by.setdefault(n, []).append(group[0])
    return {found[0]: (product, len(found) > 1) for product, found in by.items()}


@dataclass(frozen=True)
class _Found:
    """What is stored, and what is read for it: an element of the first operand and, for each sum, one of the second."""

    stores: list[Store]
    sums: list[Indices]  #: the elements of the product
    left: Load
    right: list[Load]

    @property
    def places(self) -> list[Index]:
        return [self.left.index, *[r.index for r in self.right], *[s.index for s in self.stores]]

    @property
    def starts(self) -> list[int | None]:
        """Where the columns of each sum begin, those of the first at 0; None if that is not one distance."""
        origin = self.right[0]
        return [(r.index - origin.index).constant if r.buffer == origin.buffer else None for r in self.right]

    def fits(self, shape: Sequence[int], n: Var, all_: bool) -> bool:
        """Whether the sums are at most the columns of a product, of this shape; or `all_` of them, slice by slice."""
        if not all_:
            return len(self.sums) * n.size <= math.prod(shape)
        before = len(self.sums[0]) - len(shape)
        starts = [(flatten_index(i[before:], shape) - as_index(n)).constant for i in self.sums]
        if len(starts) < 2 or None in starts:
            return False
        return sorted(starts) == list(range(0, math.prod(shape), n.size))  # type: ignore[type-var]


def sliced(c: Common, roots: Sequence[Node], kept: Node | None = None) -> Tiles | None:
    """The product `c.anchor` and the `roots` that are computed from it as one kernel; None if that can't be.

    `kept`: what the roots read, the product or what follows it, is stored as well.
    """
    node = c.anchor
    assert node is not None
    if node.dtype.name not in IN_TILES or sum_length(node) > LONG or any(r.dtype.kind == "c" for r in roots):
        return None
    lead, free, _ = sides(c)
    shape, before = domain(roots[0], c.lowering.layouts), lead + len(free)
    if shape[:before] != node.shape[:before]:
        return None
    batch, m, n, inner, at = loops_of_product(c, shape)
    found = _look(c, roots, kept, at, as_indices(inner))
    if found is None or n.size < 2 or not found.fits(shape_of(node)[before:], n, kept is not None):
        return None
    parts = split((m, n, *inner), found.places)
    if parts is None:
        return None
    whole = {v: join(vs) for v, vs in parts.items()}
    found = _look(c, roots, kept, [i.substitute(whole) for i in at], [whole[v] for v in inner])
    if found is None or None in found.starts:
        return None
    nest = LoopNest(batch, m, n, inner, found.left, found.right[0]).cut(parts)
    made = None if nest is None else tiles(c, nest, found.stores)
    if made is None or made.words > 1:
        return None
    outputs = tuple([real_dtype(r.dtype) for r in (*roots, kept) if r is not None])
    notes = (node.prim.name, *[r.prim.name for r in roots])
    return replace(made, starts=tuple(found.starts), outputs=outputs, notes=notes)  # type: ignore[arg-type]


def _look(
    c: Common, roots: Sequence[Node], kept: Node | None, at: Sequence[Index], taps: Sequence[Index]
) -> _Found | None:
    """What the roots need of the product at `at`, if it all lies in memory and each row meets several columns."""
    node = c.anchor
    assert node is not None
    c = replace(c, lowering=Lowering(c.lowering.buffers, c.lowering.layouts))
    sums: list[Indices] = []
    c.lowering.sums[node] = sums
    stores = [s for i, r in enumerate(roots) for s in written(c, r, len(c.inputs) + i, tuple(at))]
    if not 0 < len(sums) <= _MOST:
        return None
    if kept is not None:
        buffer = len(c.inputs) + len(roots)
        stores += [Store(buffer, c.lowering.place(kept, i), c.lowering.value(kept, i)) for i in list(sums)]
    pairs = [[stored(e) for e in factors(c, indices, taps)] for indices in sums]
    left, right = [x for x, _ in pairs if x is not None], [y for _, y in pairs if y is not None]
    if len(left) < len(sums) or len(right) < len(sums) or any(x != left[0] for x in left):
        return None
    return _Found(stores, sums, left[0], right)
