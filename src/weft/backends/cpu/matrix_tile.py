"""The tile where the processor has registers that are matrices (AMX): four of sums, two of rows, two of columns.

A register is some rows of 16 words. Of the first operand it holds rows as they are in memory, of the second words of 16
columns from a packed panel, of the sums 16 columns in float32. How many rows each of them has is set before the sums
begin, which makes them zero as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from ...kernel.tiles import Result, Tiles
from ...kernel.tiling import HEIGHT, Tiling
from . import instructions as ir
from .build import I8, I32, I64, Build
from .register_tile import RegisterTile
from .tile_results import Place

#: Words in a row of a register.
WIDTH = 16

#: How many registers of sums there are, from number 0 on; the numbers of the first ones of rows and of columns.
SUMS, _LEFT, _RIGHT = 4, 4, 6


class MatrixTile(RegisterTile):
    """Writes the code of one tile at a time."""

    def __init__(self, build: Build, t: Tiles, cut: Tiling) -> None:
        super().__init__(build, t, cut)
        self.settings: dict[tuple[int, int, int], ir.Value] = {}
        with self.b.goto_entry_block():  # where sums lie while results are computed from them
            self.kept = self.b.alloca(self.type, cut.rows * cut.vectors * self.lanes, self.vector_bytes)

    def _lies_across(self, result: Result) -> bool:
        return False  # rows of sums come one by one

    def _do(self, name: str, *args: ir.Value) -> None:
        _do(self.build, name, *args)

    def _set(self, tile: Place, depth: int) -> None:
        """Make the registers those of a tile, with rows of so many words, and all zero."""
        found = self.settings.get((tile.height, tile.vectors, depth))
        if found is None:
            found = self.settings[tile.height, tile.vectors, depth] = _setting(
                self.build, tile.height, tile.vectors, depth
            )
        self._do("ldtilecfg", found)

    def _clear(self, tile: Place) -> None:
        self._set(tile, WIDTH)

    def _innermost(
        self, tile: Place, a: ir.Value, b: ir.Value, a_step: int, b_step: int, count: ir.Value
    ) -> None:
        """sums += a[:, k] b[k, :], so many words k at a time as a register has, and then the rest of them."""
        del a_step  # words of the first operand are neighbours, else it would have been copied
        assert isinstance(count, ir.Constant)
        words = count.constant
        whole = words // WIDTH * WIDTH
        with self.build.loop(I64(0), I64(whole), WIDTH, name="k") as k:
            self._multiply(tile, self.offset(a, k), self.offset(b, self.b.mul(k, I64(b_step))), b_step)
        if whole < words:
            for v in range(tile.vectors):
                self._keep(tile, v)
            self._set(tile, words - whole)
            for v in range(tile.vectors):
                self._keep(tile, v, back=True)
            self._multiply(tile, self.offset(a, whole), self.offset(b, whole * b_step), b_step)

    def _multiply(self, tile: Place, a: ir.Value, b: ir.Value, b_step: int) -> None:
        """sums += a b, of one register of words."""
        row = self.a_steps[0]
        apart = [I64(x * self.size) for x in (row, b_step)]
        for v in range(tile.vectors):
            self._do("tileloadd64", I8(_RIGHT + v), self.offset(b, v * self.lanes), apart[1])
        for i, (top, _) in enumerate(_registers(tile.height)):
            self._do("tileloadd64", I8(_LEFT + i), self.offset(a, top * row), apart[0])
            for v in range(tile.vectors):
                self._do("tdpbf16ps", I8(_sums(i, v)), I8(_LEFT + i), I8(_RIGHT + v))

    def _keep(self, tile: Place, v: int, back: bool = False) -> ir.Value:
        """Move the sums of vector v to memory, or back; where they lie there."""
        assert self.kept is not None
        start = self.offset(self.kept, v * self.cut.rows * self.lanes)
        for i, (top, _) in enumerate(_registers(tile.height)):
            at = self.offset(start, top * self.lanes)
            self._do("tileloadd64" if back else "tilestored64", I8(_sums(i, v)), at, I64(self.vector_bytes))
        return start

    def _rows_of_sums(self, tile: Place, v: int) -> Iterator[tuple[ir.Value, list[ir.Value]]]:
        """Each row and its sum in vector v, in a loop."""
        start = self._keep(tile, v)
        with self.build.loop(I64(0), I64(tile.height), name="row") as r:
            at = self.offset(start, self.b.mul(r, I64(self.lanes)))
            yield r, [self.b.load(at, typ=self.vector, align=self.vector_bytes)]

    def done(self) -> None:
        """Give the registers back: the system saves and restores them while they are in use."""
        self._do("tilerelease")


def _registers(height: int) -> list[tuple[int, int]]:
    """(first row, rows) of each register of rows in a tile of so many."""
    return [(top, min(HEIGHT, height - top)) for top in range(0, height, HEIGHT)]


def _sums(i: int, v: int) -> int:
    """The number of the register of sums for register i of rows and vector v of columns."""
    return 2 * i + v


def _do(build: Build, name: str, *args: ir.Value) -> None:
    build.intrinsic(f"llvm.x86.{name}", ir.VoidType(), args)


def emit_products(build: Build, turns: int) -> None:
    """`turns` times the products of all registers of rows with all those of columns: as much as they can do."""
    _do(build, "ldtilecfg", _setting(build, 2 * HEIGHT, 2, WIDTH))
    with build.loop(I64(0), I64(turns), name="turn"):
        for i, v in product(range(2), range(2)):
            _do(build, "tdpbf16ps", I8(_sums(i, v)), I8(_LEFT + i), I8(_RIGHT + v))
    _do(build, "tilerelease")


def _setting(build: Build, height: int, vectors: int, depth: int) -> ir.Value:
    """What the registers are like in a tile of so many rows and vectors, with so many words at a time: 64 bytes.

    They say which kind of registers there are (1), from the 16th on the bytes in a row of each register, from the 48th
    on its rows.
    """
    rows, row_bytes = [0] * 16, [0] * 16
    for i, (_, count) in enumerate(_registers(height)):
        rows[_LEFT + i], row_bytes[_LEFT + i] = count, 4 * depth
        for v in range(vectors):
            rows[_sums(i, v)], row_bytes[_sums(i, v)] = count, 4 * WIDTH
    for v in range(vectors):
        rows[_RIGHT + v], row_bytes[_RIGHT + v] = depth, 4 * WIDTH
    data = bytes([1, *[0] * 15]) + b"".join([n.to_bytes(2, "little") for n in row_bytes]) + bytes(rows)
    type_ = ir.VectorType(I32, 16)
    with build.b.goto_entry_block():
        place = build.b.alloca(type_)
        words = [int.from_bytes(data[k : k + 4], "little") for k in range(0, 64, 4)]
        build.b.store(ir.Constant(type_, words), place)
    return place
