"""Contractions as tiles: which operand runs along vectors, how large the register tile is, how work is cut.

The micro-kernel holds a tile of `rows` x `vectors` accumulators in registers and adds products along K in order, one
fused multiply-add per element and step, so each output element is summed sequentially whatever the blocking.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..ir.dtype import DType
from .index import Var
from .loops import Expr, has_lookup
from .target import Target


@dataclass(frozen=True)
class Operand:
    """A matrix in a buffer: strides in elements of the batch axes, the free axis and the contracted axis."""

    buffer: int
    batch: tuple[int, ...]
    free: int
    contracted: int


@dataclass(frozen=True)
class Gemm:
    """out[b, m, n] = epilogue(sum over k of a[b, m, k] * c[b, k, n]); buffers are numbered as in a loop kernel.

    `epilogue` is an expression over the variables of `batch`, `m` and `n` in which `Total(0)` is the sum.
    """

    name: str
    batch: tuple[Var, ...]
    m: Var
    n: Var
    k: int
    a: Operand
    b: Operand
    out_strides: tuple[tuple[int, ...], int, int]  #: of the batch axes, m and n
    out: int
    epilogue: Expr
    dtype: DType
    inputs: tuple[DType, ...]
    outputs: tuple[DType, ...]
    notes: tuple[str, ...] = field(default=(), compare=False)

    @property
    def checked(self) -> bool:
        """Whether its epilogue reads at places known only at run time."""
        return has_lookup(self.epilogue)

    @property
    def flops(self) -> int:
        count = 2 * self.m.size * self.n.size * self.k
        for v in self.batch:
            count *= v.size
        return count


@dataclass(frozen=True)
class Tiling:
    """How a contraction is cut: the register tile, the rows of each tile, the block of K, the rows of a unit."""

    rows: int  #: most rows of a tile
    vectors: int  #: vectors in a row of a tile
    heights: tuple[tuple[int, int], ...]  #: (tiles, rows of each): M split evenly, nearly equal tiles first
    block: int  #: steps of K between which the accumulators stay in registers
    pack: bool  #: whether the second operand is copied into panels first

    @property
    def tiles(self) -> int:
        return sum(count for count, _ in self.heights)


#: (vector registers) -> tiles of (rows, vectors) that leave room for the operands, for wide and for narrow results.
_TILES = {32: ((12, 2), (28, 1)), 16: ((6, 2), (12, 1))}


def tiling(g: Gemm, target: Target) -> Tiling:
    """The cut of a contraction; a function of its shape and the instruction set."""
    lanes = target.lanes(g.dtype.itemsize)
    wide, narrow = _TILES[target.registers]
    rows, vectors = narrow if g.n.size <= lanes else wide
    count = -(-g.m.size // rows)
    height, rest = divmod(g.m.size, count) if count else (0, 0)
    heights = tuple([h for h in ((rest, height + 1), (count - rest, height)) if h[0] and h[1]])
    block = g.k if g.k <= 768 else 512
    return Tiling(rows, vectors, heights, block, pack=g.b.free != 1)
