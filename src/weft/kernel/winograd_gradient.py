"""Gradients of kernels of 3 x 3 with fewer products: Winograd's minimal filtering F(3 x 3, 2 x 2).

A tile of 2 x 2 cotangents y and the patch d of 4 x 4 numbers that it came from add to the gradient

    A [ (G y G') * (B' d B) ] A'

16 products where the sums as they are written have 36 (`filtering` has the matrices). What is inside the brackets is
summed over all tiles before it is transformed back, so what is left are 16 matrix products of channels times tiles
times output channels.

One step makes the sums: a unit of work has four of the 16, those of one row, for some channels and some output
channels, and goes through all tiles block by block, with memory that stays in its cache in between. A second step
transforms the sums. The order in which tiles are added up depends on the shapes alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ..ir.dtype import DType, float32
from ..ir.node import Node
from .anchors import Common
from .filtering import Line, both_ways, of_pair, of_patch, to_taps
from .index import Index, Var, as_index
from .loops import Apply, Expr, Kernel, Load, Stage, Store, Total
from .lower import inside, zero
from .shapes import shape_of
from .tiles import Operand, Result, Tap, Tiles
from .winograd import block_of, fills, grid_of, is_plain, place_of

#: Rows of products, and products of a row.
_ROWS = 4

#: Channels of a unit: the first of these that divides them.
_WIDTHS = (128, 96, 64, 32)

#: Tiles, at least, and those of a block, at most.
_FEWEST, _BLOCK = 64, 128


@dataclass(frozen=True)
class Sums:
    """The sums over tiles. Buffers are the inputs, and the sums of one unit after the other: rows of products
    outermost, then parts of the channels, then of the output channels.

    `patches` and `cotangents` have a kernel for each row of products, whose first variables are the part of the
    channels and the block of tiles, and which write one more buffer; `products` adds those of these two to a third.
    """

    name: str
    patches: tuple[Kernel, ...]
    cotangents: tuple[Kernel, ...]
    products: Tiles
    blocks: int
    parts: tuple[int, int]
    inputs: tuple[DType, ...]
    outputs: tuple[DType, ...]
    notes: tuple[str, ...] = field(default=(), compare=False)

    @property
    def units(self) -> int:
        return _ROWS * math.prod(self.parts)

    @property
    def checked(self) -> bool:
        return False

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Elements of the transformed patches and cotangents of a block, and of the sums of a unit."""
        tiles, rows, columns = self.products.taps[0].count, self.products.m.size, self.products.n.size
        return _ROWS * tiles * rows, _ROWS * tiles * columns, _ROWS * rows * columns

    @property
    def flops(self) -> int:
        """Operations of the products."""
        return self.products.flops * self.blocks * self.units

    @property
    def beside(self) -> tuple[Kernel, ...]:
        """What is computed beside the products."""
        return *self.patches, *self.cotangents


def suits_gradient(conv: Node) -> bool:
    """Whether a convolution is such a gradient: a function of its shapes and attributes alone."""
    if not is_plain(conv) or conv.shape[2:] != (3, 3):
        return False
    return fills(_images(conv), _FEWEST) and all(n and n % _WIDTHS[-1] == 0 for n in shape_of(conv)[:2])


def _images(conv: Node) -> tuple[int, ...]:
    """The shape of the cotangents, which are the kernel of the convolution: images first."""
    channels, images, *spatial = shape_of(conv.args[1])
    return images, channels, *spatial


def sums_and_results(c: Common) -> tuple[Sums, Kernel]:
    """The kernels of a gradient that `suits_gradient`; the second reads the sums as its last input."""
    conv = c.anchor
    assert conv is not None
    total = math.prod(grid_of(_images(conv)))
    tiles = block_of(total, _BLOCK)
    block, tile = Var("b", -(-total // tiles)), Var("t", tiles)
    rows, columns = (next(n for n in _WIDTHS if size % n == 0) for size in shape_of(conv)[:2])
    parts = shape_of(conv)[0] // rows, shape_of(conv)[1] // columns
    sums = Sums(
        name=c.name,
        patches=_transformed(c, 0, 4, of_patch, (Var("p", parts[0]), block, tile), Var("c", rows)),
        cotangents=_transformed(c, 1, 2, of_pair, (Var("p", parts[1]), block, tile), Var("o", columns)),
        products=_products(tiles, rows, columns),
        blocks=block.size,
        parts=parts,
        inputs=c.inputs,
        outputs=(float32,),
        notes=(conv.prim.name, c.inner.prim.name),
    )
    return sums, _results(c, parts, (rows, columns))


def _transformed(
    c: Common,
    side: int,
    size: int,
    transform: Callable[[Line], list[Expr]],
    outer: tuple[Var, Var, Var],
    channel: Var,
) -> tuple[Kernel, ...]:
    """For each row of products, what patches (side 0) or cotangents (side 1) of `size` numbers squared become."""
    conv = c.anchor
    assert conv is not None
    part, block, tile = outer
    source = conv.args[side]
    (image, *corner), there = place_of(grid_of(_images(conv)), block, tile)
    starts = [p[0] if side == 0 else 0 for p in conv.attrs["padding"]]
    depth = as_index(part) * channel.size + as_index(channel)

    def element(i: int, j: int) -> Expr:
        y, z = (at * 2 + k - start for at, k, start in zip(corner, (i, j), starts, strict=True))
        conditions = [there, *[(at, 0, n) for at, n in zip((y, z), shape_of(source)[2:], strict=True)]]
        return inside(conditions, lambda: c.lowering.value(source, (depth, image, y, z)), zero(source.dtype))

    columns = [[element(i, j) for i in range(size)] for j in range(size)]
    place = as_index(tile) * channel.size + as_index(channel)
    found = []
    for row in range(_ROWS):
        values = transform([transform(column)[row] for column in columns])
        places = [place + k * (tile.size * channel.size) for k in range(_ROWS)]
        stores = [Store(len(c.inputs), p, v) for p, v in zip(places, values, strict=True)]
        stage = Stage((channel,), stores=tuple(stores))
        found.append(Kernel("transformed", outer, (stage,), c.inputs, (float32,)))
    return tuple(found)


def _products(tiles: int, rows: int, columns: int) -> Tiles:
    """What a block adds to the sums of a unit."""
    product, m, n = Var("e", _ROWS), Var("c", rows), Var("o", columns)
    first = as_index(product) * (rows * columns)
    before = Load(2, first + as_index(m) * columns + as_index(n), float32)
    value = Apply("add", (before, Total(0, float32)), float32)
    return Tiles(
        name="products",
        outer=(product,),
        m=m,
        n=n,
        taps=(Tap(tiles, rows, columns),),
        a=Operand(0, as_index(product) * (tiles * rows), 1),
        b=Operand(1, as_index(product) * (tiles * columns), 1),
        results=(Result(Operand(3, first, columns), 1, value),),
        dtype=float32,
        inputs=(float32,) * 3,
        outputs=(float32,),
    )


def _results(c: Common, parts: Sequence[int], widths: Sequence[int]) -> Kernel:
    """The gradient, and what follows it, from the sums."""
    assert c.anchor is not None
    buffer = len(c.inputs)
    high, low = Var("ph", parts[0]), Var("pl", parts[1])
    row, column = Var("c", widths[0]), Var("o", widths[1])

    def load(i: int, j: int) -> Expr:
        unit: Index = (as_index(high) + i * parts[0]) * parts[1] + as_index(low)
        place = (unit * _ROWS + j) * row.size + as_index(row)
        return Load(buffer, place * column.size + as_index(column), float32)

    found = both_ways(to_taps, [[load(i, j) for j in range(_ROWS)] for i in range(_ROWS)])
    first = as_index(high) * row.size + as_index(row), as_index(low) * column.size + as_index(column)
    places = [(*first, as_index(i), as_index(j)) for i in range(3) for j in range(3)]
    for here, value in zip(places, found, strict=True):
        c.lowering.give(c.anchor, here, value)
    stores = [Store(buffer + 1, c.place(here), c.lowering.value(c.inner, here)) for here in places]
    outer, stage = (high, row, low), Stage((column,), stores=tuple(stores))
    notes = (c.anchor.prim.name, c.inner.prim.name)
    return Kernel(c.name, outer, (stage,), (*c.inputs, float32), (c.root.dtype,), notes=notes)
