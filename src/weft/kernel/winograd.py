"""Convolutions by windows of 3 x 3 with fewer products: Winograd's minimal filtering F(2 x 2, 3 x 3).

Four results, a tile of 2 x 2, come from a patch d of 4 x 4 numbers of each channel and its kernel g of 3 x 3:

    Y = A' [ sum over channels of (G g G') * (B' d B) ] A

with * element by element: 16 products where the sums as they are written need 36. The patches, transformed, make 16
matrices of tiles times channels, and the kernels 16 of channels times results, so what is left are 16 matrix products.
B and A hold ones, G halves too: transforming only adds and subtracts. The matrices, where they come from and what they
do to rounding errors are in `filtering`: bounds are 7 times those of the sums as they are written, but each sum is nine
times shorter, and the error that is measured is a fifth larger (docs/decisions/0025-fewer-products.md).
A transformed patch is up to four times as large as its numbers, so that those near the end of the range overflow
earlier, and an infinity or a NaN reaches all four results of a tile.

A unit of work takes a block of tiles: it transforms their patches, and for each part of the output channels makes the
products and transforms these back, with everything that follows the convolution. What lies between these steps is in
scratch memory that stays in the cache. Kernels are transformed in a step before, once for all blocks, and only once
for all calls where they do not change.

S. Winograd, Arithmetic complexity of computations (1980); A. Lavin and S. Gray, Fast algorithms for convolutional
neural networks (2016), section 4.1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from ..ir.dtype import DType, float32
from ..ir.node import Node
from .anchors import Common
from .borders import Border
from .filtering import both_ways, greatest, of_kernel, of_patch, of_products
from .index import Index, Indices, Var, as_index, quotient, remainder, unflatten_index
from .loops import Expr, Kernel, Load, Stage, Store, Total
from .lower import Condition, Lowering, inside, open_conditions, zero
from .pixels import FEW, by_pixels
from .shapes import shape_of
from .tiles import Operand, Result, Tap, Tiles

#: Products of each tile and channel.
_PRODUCTS = 16

#: Output channels of a part: as many as the widest register tiles have columns, or half of that.
_WIDTHS = (64, 32)

#: Output channels whose kernels are transformed side by side: neighbouring channels of these lie in the same lines.
_STRIP = 16

#: Channels, at least: with fewer, transforming takes longer than the products that it saves.
_CHANNELS = 32

#: Tiles, at least, that a transformed kernel serves.
_FEWEST = 48

#: Results computed for each that is wanted, at most: at odd edges tiles stick out.
_WASTE = 1.4

#: Products of a channel with an output channel that take as long as to transform a patch of a channel, and the results
#: of an output channel.
_TO_PATCHES, _TO_RESULTS = 316, 76

#: Tiles of a block at most, and at most with very many channels; numbers of its transformed patches, which lie in the
#: second-level cache.
_BLOCK, _SHORT_BLOCK, _PATCHES = 64, 32, 1 << 19

#: Units of work that are enough to go round.
_ENOUGH = 8


@dataclass(frozen=True)
class Winograd:
    """A convolution block by block. Buffers are the inputs, the transformed kernel, and the result.

    `patches` has the inputs and one more buffer, the transformed patches of the block that its first variable says;
    `products` reads these and a part of the kernel and writes a third; `results` has the inputs, the products, and the
    result. Its first variables are the block and the part.
    """

    name: str
    patches: Kernel
    products: Tiles
    results: Kernel
    blocks: int
    parts: int  #: of the output channels
    shares: int  #: units that go through one block, each with its own parts
    inputs: tuple[DType, ...]
    outputs: tuple[DType, ...]
    notes: tuple[str, ...] = field(default=(), compare=False)
    border: Border | None = None  #: of zeros, around the result

    @property
    def units(self) -> int:
        return self.blocks * self.shares

    @property
    def checked(self) -> bool:
        return self.results.checked

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Elements of the transformed patches of a block, of a part of the kernel, and of the products of both."""
        tiles, channels, width = self.products.m.size, self.products.taps[0].count, self.products.n.size
        return _PRODUCTS * tiles * channels, _PRODUCTS * channels * width, _PRODUCTS * tiles * width

    @property
    def flops(self) -> int:
        """Operations of the products."""
        return self.products.flops * self.blocks * self.parts

    @property
    def beside(self) -> tuple[Kernel, ...]:
        """What is computed beside the products."""
        return self.patches, self.results


def suits(conv: Node) -> bool:
    """Whether a convolution is made so: a function of its shapes and attributes alone, as it decides on the bits."""
    if not is_plain(conv) or conv.args[1].shape[2:] != (3, 3) or not conv.size or not conv.args[0].size:
        return False
    columns, channels = shape_of(conv.args[1])[:2]
    many = math.prod(shape_of(conv)[2:]) >= 9  # or it may be the gradient of a kernel, over few pixels
    fits = many and columns % _WIDTHS[-1] == 0 and channels >= _CHANNELS
    return fits and fills(shape_of(conv), _FEWEST) and _pays(conv)


def _pays(conv: Node) -> bool:
    """Whether a tile of 2 x 2 results takes less time than its sums as they are written, for each pair of a channel and
    an output channel. Where the rows of tiles are images, these leave out what lies outside of the images."""
    columns, channels, *_ = shape_of(conv.args[1])
    written = 1.0
    for size, results, (low, _) in zip(
        shape_of(conv.args[0])[2:], shape_of(conv)[2:], conv.attrs["padding"], strict=True
    ):
        taps = 3 * results
        if shape_of(conv)[0] >= FEW and not by_pixels(conv):
            taps = sum([0 <= i + k - low < size for i in range(results) for k in range(3)])
        written *= taps / -(-results // 2)
    return _PRODUCTS + _TO_PATCHES / columns + _TO_RESULTS / channels <= written


def is_plain(conv: Node) -> bool:
    """Whether it is a convolution of float32 over two axes, of one group, in steps of one."""
    if conv.prim.name != "conv" or conv.dtype is not float32 or conv.ndim != 4:
        return False
    a = conv.attrs
    alone = a["feature_groups"] == a["batch_groups"] == 1
    return alone and all(n == 1 for n in (*a["stride"], *a["kernel_dilation"], *a["input_dilation"]))


def fills(shape: tuple[int, ...], fewest: int) -> bool:
    """Whether images of a shape are so many tiles, at least, and these stick out of them but little."""
    images, _, height, width = shape
    tiles = math.prod(grid_of(shape))
    return tiles >= fewest and 4 * tiles <= _WASTE * images * height * width


def grid_of(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Images, and rows and columns of tiles of each."""
    images, _, height, width = shape
    return images, -(-height // 2), -(-width // 2)


def _width(conv: Node) -> int:
    """Output channels of a part."""
    return next(n for n in _WIDTHS if shape_of(conv)[1] % n == 0)


def winograd(c: Common) -> Winograd:
    """The kernel of a convolution that it `suits`, with what follows it."""
    conv = c.anchor
    assert conv is not None
    x, w = conv.args
    channels, grid, part = shape_of(w)[1], grid_of(shape_of(conv)), _width(conv)
    total = math.prod(grid)
    size = block_of(total, min(_BLOCK, max(_SHORT_BLOCK, _PATCHES // (_PRODUCTS * channels))))
    blocks, parts = -(-total // size), shape_of(conv)[1] // part
    block, tile = Var("b", blocks), Var("t", size)
    at, there = place_of(grid, block, tile)
    patches = _patches(c, x, block, tile, Var("c", channels), at, there)
    results = _results(c, block, tile, Var("p", parts), Var("o", part), at, there)
    return Winograd(
        name=c.name,
        patches=patches,
        products=_products(size, channels, part),
        results=results,
        blocks=blocks,
        parts=parts,
        shares=next((d for d in range(1, parts) if parts % d == 0 and blocks * d >= _ENOUGH), parts),
        inputs=(*c.inputs, float32),
        outputs=(c.root.dtype,),
        notes=(conv.prim.name, c.inner.prim.name),
        border=c.border(),
    )


def transformed(name: str, lowering: Lowering, conv: Node) -> Kernel:
    """The kernel that transforms the kernel of a convolution, for the parts of its output channels one after the
    other: 16 matrices of channels times output channels each."""
    w = conv.args[1]
    columns, channels = shape_of(w)[:2]
    width = _width(conv)
    strip, channel, column = Var("p", columns // _STRIP), Var("c", channels), Var("o", _STRIP)
    at = (as_index(strip) * _STRIP + as_index(column), as_index(channel))
    taps = [[lowering.value(w, (*at, as_index(i), as_index(j))) for j in range(3)] for i in range(3)]
    part, across = quotient(as_index(strip), width // _STRIP), remainder(as_index(strip), width // _STRIP)
    row = part * (_PRODUCTS * channels) + as_index(channel)
    places = [(row + e * channels) * width + across * _STRIP + as_index(column) for e in range(_PRODUCTS)]
    stores = [Store(1, p, v) for p, v in zip(places, both_ways(of_kernel, taps), strict=True)]
    stage, notes = Stage((), stores=tuple(stores)), ("winograd", "transform")
    return Kernel(name, (strip, channel, column), (stage,), (w.dtype,), (w.dtype,), True, notes)


def transformed_size(conv: Node) -> int:
    """Elements of the transformed kernel."""
    columns, channels = shape_of(conv.args[1])[:2]
    return _PRODUCTS * columns * channels


def block_of(total: int, most: int) -> int:
    """Tiles of a block: those with which the fewest are computed for nothing."""
    return min(range(-(-most // 2), most + 1), key=lambda n: (-(-total // n) * n, -n))


def place_of(grid: tuple[int, int, int], block: Var, tile: Var) -> tuple[Indices, Condition]:
    """Where a tile of a block is, image, row and column; and when it is there, as the last block may be longer than
    what is left."""
    number = as_index(block) * tile.size + as_index(tile)
    image, *corner = unflatten_index(number, grid)
    at = (image if grid[0] != 1 else as_index(0), *corner)
    return at, (number, 0, math.prod(grid))


def _patches(
    c: Common,
    x: Node,
    block: Var,
    tile: Var,
    channel: Var,
    at: Indices,
    there: Condition,
) -> Kernel:
    """B' d B of every tile and channel."""
    assert c.anchor is not None
    image, *corner = at
    *_, height, width = shape_of(x)
    starts = [i * 2 - p[0] for i, p in zip(corner, c.anchor.attrs["padding"], strict=True)]

    def element(i: int, j: int) -> Expr:
        y, z = starts[0] + i, starts[1] + j
        conditions = [there, (y, 0, height), (z, 0, width)]
        return inside(
            conditions, lambda: c.lowering.value(x, (image, as_index(channel), y, z)), zero(x.dtype)
        )

    values = both_ways(of_patch, [[element(i, j) for j in range(4)] for i in range(4)])
    places = [(as_index(tile) + e * tile.size) * channel.size + as_index(channel) for e in range(_PRODUCTS)]
    stores = [Store(len(c.inputs), p, v) for p, v in zip(places, values, strict=True)]
    stage = Stage((channel,), stores=tuple(stores))
    return Kernel("patches", (block, tile), (stage,), c.inputs, (float32,))


def _products(tiles: int, channels: int, width: int) -> Tiles:
    """For each of the 16, tiles by channels times channels by output channels."""
    product, row, column = Var("e", _PRODUCTS), Var("t", tiles), Var("o", width)
    return Tiles(
        name="products",
        outer=(product,),
        m=row,
        n=column,
        taps=(Tap(channels, 1, width),),
        a=Operand(0, as_index(product) * (tiles * channels), channels),
        b=Operand(1, as_index(product) * (channels * width), 1),
        results=(Result(Operand(2, as_index(product) * (tiles * width), width), 1, Total(0, float32)),),
        dtype=float32,
        inputs=(float32, float32),
        outputs=(float32,),
    )


def _results(
    c: Common,
    block: Var,
    tile: Var,
    part: Var,
    column: Var,
    at: Indices,
    there: Condition,
) -> Kernel:
    """A' M A of every tile and output channel, and what follows."""
    assert c.anchor is not None
    buffer = len(c.inputs)
    image, *corner = at
    channel = as_index(part) * column.size + as_index(column)
    places = [(as_index(tile) + e * tile.size) * column.size + as_index(column) for e in range(_PRODUCTS)]
    products = [Load(buffer, p, float32) for p in places]
    found = both_ways(of_products, [products[4 * i : 4 * i + 4] for i in range(4)])
    pixels = [
        (image, channel, corner[0] * 2 + i, corner[1] * 2 + j) for i, j in ((0, 0), (0, 1), (1, 0), (1, 1))
    ]
    for here, value in zip(pixels, found, strict=True):
        c.lowering.give(c.anchor, here, value)

    def stored(here: tuple[Index, ...], value: Callable[[], Expr]) -> Store:
        conditions = [there, *[(i, 0, n) for i, n in zip(here[2:], c.shape[2:], strict=True)]]
        place, only = c.place(here), open_conditions(conditions)
        return Store(buffer + 1, place, inside(conditions, value, zero(c.root.dtype)), only)

    if c.pooled is None:
        stores = [stored(p, lambda p=p: c.lowering.value(c.inner, p)) for p in pixels]
    else:
        end = c.pooled
        stores = [
            stored((image, channel, *corner), lambda: greatest([c.lowering.value(end, p) for p in pixels]))
        ]
    stage = Stage((column,), stores=tuple(stores))
    return Kernel("results", (block, part, tile), (stage,), (*c.inputs, float32), (c.root.dtype,))
